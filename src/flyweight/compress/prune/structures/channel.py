"""Channels and neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.pools.coupled import coupled
from flyweight.core.errors import ShapeError
from flyweight.core.task import Task


@dataclass(frozen=True)
class channel:
    """Each channel of a convolution and each neuron is a unit, with all that it is coupled to.

    A trace of the model finds what goes together: across residual additions, concatenations, depthwise convolutions,
    and so on (:mod:`flyweight.surgery.couple`). A unit's rows, its batch-norm and the columns that read it are masked,
    so ``Remove()`` can take it out and the model computes the same. The number kept is a multiple of ``round_to``, as
    hardware likes it, unless all are. The first layer loses channels too; what ``exclude`` matches keeps its own.
    """

    round_to: int = 1

    units: ClassVar[str] = "channels"

    def __post_init__(self) -> None:
        if not isinstance(self.round_to, int) or isinstance(self.round_to, bool) or self.round_to < 1:
            raise ShapeError(
                f"ShapeError: channel got round_to={self.round_to!r}. Give a whole number, 1 or more, as in "
                "channel(round_to=8)."
            )

    def __call__(self, model: nn.Module, task: Task, exclude: Sequence[str]) -> list[Pool]:
        return [*coupled(model, task, exclude, "channel", self.round_to)]
