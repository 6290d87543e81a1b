"""A pool: units that compete with each other for being kept, and how pools share what is to go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from flyweight.core.task import Task


class Pool(Protocol):
    """The units of one layer's weight (elements, blocks) or of one coupled group (channels, heads, layers)."""

    @property
    def name(self) -> str:
        """The dotted name of the layer, the first one of a group."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of that layer's weight."""

    @property
    def parameters(self) -> Tensor:
        """How many parameters each unit takes along, ``(units,)`` float."""

    @property
    def kept(self) -> Tensor:
        """Which units are kept now, ``(units,)`` bool."""

    @property
    def round_to(self) -> int:
        """The number of units kept is a multiple of this, unless all are."""

    @property
    def gates(self) -> Sequence[nn.Module]:
        """The modules in which :meth:`write` leaves what is kept: masks, or gates of whole layers."""

    def reads(self, kind: str) -> Sequence[tuple[nn.Module, str, str]]:
        """(module, parameter's name, dotted name) of what a score that reads ``kind`` has to score for this pool."""

    def saliency(self, scores: Mapping[str, Tensor]) -> Tensor:
        """The units' saliency, ``(units,)``, from the elements' by the dotted names of :meth:`reads`."""

    def write(self, keep: Tensor) -> None:
        """Keeps those units alone: sets the masks."""


class Structure(Protocol):
    """What goes together; a frozen dataclass."""

    def __call__(self, model: nn.Module, task: Task, exclude: Sequence[str]) -> list[Pool]:
        """The pools of ``model``, masks put in place; the modules that a glob of ``exclude`` matches are left alone."""


Damage = Callable[[Pool, float], float]
"""``(pool, ratio) -> by how much the loss rises when that pool alone loses the fraction ``ratio`` of its units``."""


class Distribution(Protocol):
    """How much each pool loses; a frozen dataclass."""

    def __call__(
        self, pools: Sequence[Pool], saliency: Sequence[Tensor], ratio: float, damage: Damage | None
    ) -> list[float]:
        """The fraction of units that each pool loses, so that the fraction ``ratio`` of all their parameters goes.

        ``saliency`` is that of the units, pool by pool; −∞ for those that are gone already, which go first. No pool
        loses all. ``damage`` tries, where a model can be run.
        """


def strongest(saliency: Tensor, count: int) -> Tensor:
    """Bool ``(units,)``: the ``count`` units of the greatest saliency; of equals the earlier ones."""
    keep = torch.zeros(len(saliency), dtype=torch.bool, device=saliency.device)
    keep[saliency.argsort(descending=True, stable=True)[:count]] = True
    return keep
