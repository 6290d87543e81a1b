"""A step: one edit of a model, written as a frozen dataclass of hyper-parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from flyweight.core.copied import copied

if TYPE_CHECKING:
    from flyweight.core.task import Task

Recipe = tuple["Step", ...]


class Step(ABC):
    """One edit of a model. Subclasses are final frozen dataclasses whose fields are hyper-parameters.

    ``step(model, task)`` leaves ``model`` as it was and returns another; ``edit`` may change its argument.
    """

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        return self.edit(copied(model), task)

    @abstractmethod
    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        """Returns the edited model; owns ``model``, and may return the same object or another."""

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        """The structure that ``edit`` gave, without its values: those are loaded from ``state`` afterwards.

        ``state`` is the state dict of the finished recipe. A step that only changes values need not override.
        """
        return model

    def teachers(self) -> tuple[Recipe, ...]:
        """Recipes whose results this step learns from; ``run`` makes them first and gives them as ``task.teacher``."""
        return ()
