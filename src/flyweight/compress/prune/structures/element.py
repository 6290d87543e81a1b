"""Single elements of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.pools.prunable import prunable
from flyweight.compress.prune.pools.tiles import tiles
from flyweight.core.task import Task


@dataclass(frozen=True)
class element:
    """Each element of each layer's weight is a unit; biases and batch-norm stay whole.

    So does the layer that reads the model's input, unless ``first`` says otherwise. A weight that layers share is one
    pool, and loses the same elements everywhere.
    """

    first: bool = False

    units: ClassVar[str] = "elements"

    def __call__(self, model: nn.Module, task: Task, exclude: Sequence[str]) -> list[Pool]:
        return [tiles(weight) for weight in prunable(model, task, exclude, first=self.first, rows=False)]
