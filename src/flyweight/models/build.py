"""The step that puts another architecture in the model's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.core.errors import FlyweightError, TaskError
from flyweight.core.step import Step
from flyweight.core.task import Task


@dataclass(frozen=True)
class Build(Step):
    """Another network, untrained: ``builder(**settings)``, its values drawn under ``seed``.

    Nothing of the model that comes in is kept but its device and its mode, so a recipe goes on with training: a teacher
    of another make, or a leaner architecture for the same task. ``settings`` are pairs ``(name, value)``::

        Build(wide_resnet, (("depth", 22), ("widen", 4)))

    Raises :class:`TaskError` where the builder does not take them, or returns no module.
    """

    builder: Callable[..., nn.Module]
    settings: tuple[tuple[str, Any], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        pairs = self.settings
        if not isinstance(pairs, tuple) or not all(isinstance(p, tuple) and len(p) == 2 for p in pairs):
            raise FlyweightError(
                f'FlyweightError: Build got settings={self.settings!r}. Give pairs, as in (("depth", 22),).'
            )

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        """A new model of the builder."""
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(self.seed)
            try:
                fresh = self.builder(**dict(self.settings))
            except TypeError as error:
                raise TaskError(
                    f"TaskError: Build cannot call {self.builder.__qualname__} with {dict(self.settings)}: {error}."
                ) from error
        if not isinstance(fresh, nn.Module):
            raise TaskError(
                f"TaskError: Build's {self.builder.__qualname__} returned {type(fresh).__name__}. "
                "It must return a torch.nn.Module."
            )
        first = next(model.parameters(), None)
        return fresh.to(None if first is None else first.device).train(model.training)

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        """The same: drawing values costs nothing."""
        return self.edit(model, task)
