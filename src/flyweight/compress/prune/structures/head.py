"""Attention heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.pools.coupled import coupled
from flyweight.core.task import Task


@dataclass(frozen=True)
class head:
    """Each attention head is a unit: its rows of the query, key and value projections, and the columns that read it.

    Where several query heads share a head of keys and values (grouped queries, as in Llama), all of these are one unit;
    where all share one, it stays, and each query head is a unit. A trace of the model finds them
    (:mod:`flyweight.surgery.couple`); ``Remove()`` takes masked heads out.
    """

    units: ClassVar[str] = "heads"

    def __call__(self, model: nn.Module, task: Task, exclude: Sequence[str]) -> list[Pool]:
        return [*coupled(model, task, exclude, "head", 1)]
