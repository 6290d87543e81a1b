"""The step that starts again at another width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.core.errors import FlyweightError, TaskError
from flyweight.core.step import Step
from flyweight.core.task import Task


@dataclass(frozen=True)
class Resize(Step):
    """The task's family at ``width``, untrained: its values are drawn under ``seed``, whatever was drawn before.

    Nothing of the model that comes in is kept but its device and its mode (training or evaluation), so a recipe goes
    on with training. At width 1 it is the task's model begun anew. Source: the survey's *Shrink* and *Grow*
    (Menghani 2023, arXiv 2106.08962, section 4).
    Raises :class:`FlyweightError` for a width that is not above 0, :class:`TaskError` where the task has no family.
    """

    width: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.width < float("inf"):
            raise FlyweightError(
                f"FlyweightError: Resize(width={self.width}) cannot be: the width must be above 0, such as 0.5."
            )

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        """A new model of the family."""
        if task.family is None:
            raise TaskError(
                f"TaskError: Resize(width={self.width}) needs task.family, and the task {task.name!r} has none. "
                "Give it one, as in Task(family=lambda width: MyModel(int(64 * width))), or leave Resize out."
            )
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(self.seed)
            fresh = task.family(self.width)
        if not isinstance(fresh, nn.Module):
            raise TaskError(
                f"TaskError: the family of the task {task.name!r} returned {type(fresh).__name__} "
                f"at width {self.width}. It must return a torch.nn.Module."
            )
        first = next(model.parameters(), None)
        return fresh.to(None if first is None else first.device).train(model.training)

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        """The same: drawing values costs nothing."""
        return self.edit(model, task)
