"""Rounds of cutting and training, each kept, so that a killed run repeats none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from flyweight.compress.prune.schedule import AtOnce
from flyweight.core.crew import agreed, crew
from flyweight.core.store import scratch
from flyweight.core.task import Task
from flyweight.core.weights import load_state, restore, save_state

Cut = Callable[[nn.Module, Task, float], None]


def rounds(model: nn.Module, task: Task, schedule: AtOnce, ratio: float, cut: Cut) -> nn.Module:
    """``model`` after the rounds of ``schedule``: ``cut(model, task, ratio)`` to each one's ratio, then its training.

    ``model`` has its masks already. What the store's scratch folder holds of finished rounds is taken from there.
    """
    ratios, train = schedule(ratio), schedule.train
    done = 0
    if train is not None:
        done = agreed(max((i for i in range(1, len(ratios) + 1) if _kept(i) is not None), default=0))
        if done:
            path = _kept(done)
            assert path is not None
            restore(model, load_state(path)).eval()
    for index in range(done, len(ratios)):
        cut(model, task, ratios[index])
        if train is None:
            continue
        model = train.edit(model, task)
        folder = scratch()
        if folder is not None and crew()[0] == 0:
            save_state(model.state_dict(), folder / f"round-{index + 1}.safetensors")
            (folder / f"round-{index}.safetensors").unlink(missing_ok=True)
    return model


def _kept(number: int) -> Path | None:
    folder = scratch()
    path = None if folder is None else folder / f"round-{number}.safetensors"
    return path if path is not None and path.exists() else None
