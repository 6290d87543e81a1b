"""The same fraction everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.prune.distributions.earliest import earliest
from flyweight.compress.prune.pool import Damage, Pool


@dataclass(frozen=True)
class uniform:
    """Each pool loses the same fraction of its units, to the nearest unit.

    Where pools are too small to lose theirs, the others make up for it.
    """

    def __call__(
        self, pools: Sequence[Pool], saliency: Sequence[Tensor], ratio: float, damage: Damage | None
    ) -> list[float]:
        return earliest(pools, saliency, ratio, [_evenly(len(scores)) for scores in saliency])


def _evenly(units: int) -> Tensor:
    """The j-th of n units goes when the fraction (j + ½) / n is reached: rounding to the nearest."""
    return (torch.arange(units, dtype=torch.float64) + 0.5) / max(1, units)
