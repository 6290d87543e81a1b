"""A stretch of a training: some of its optimizer steps, as they are in the whole."""

from __future__ import annotations

from typing import Any

from torch import nn

from flyweight.core.errors import UnsupportedError
from flyweight.core.takes import takes
from flyweight.core.task import Task
from flyweight.learn.fit import Fit
from flyweight.learn.train import Train


def stretch(model: nn.Module, task: Task, train: Train, start: int, stop: int | None = None) -> nn.Module:
    """``model`` after the optimizer steps of ``train`` from ``start`` up to ``stop`` (None: the last), counted from 0.

    They see the examples, the learning rates and the random numbers that they see in the whole training, and a new
    optimizer, which remembers no gradients. Raises :class:`UnsupportedError` for a loop of the user's own that takes no
    steps.
    """
    if start == 0 and stop is None:
        return train.edit(model, task)
    fit: Any = task.fit or Fit()
    check_stretched(task)
    trained: nn.Module = fit(model, task, train, start, stop)
    return trained


def check_stretched(task: Task) -> None:
    """Raises :class:`UnsupportedError` where the loop of ``task`` can take no stretch of a training."""
    if task.fit is not None and not takes(task.fit, 5):
        raise UnsupportedError(
            f"UnsupportedError: the training is to begin or end at an optimizer step, and fit={task.fit!r} of task "
            f"{task.name!r} takes (model, task, train) alone. Have it take start and stop after these, as Fit() does, "
            "or ask for the whole training (rewind=0)."
        )
