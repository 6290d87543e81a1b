"""One threshold for all pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from flyweight.compress.prune.distributions.earliest import earliest
from flyweight.compress.prune.pool import Damage, Pool
from flyweight.core.errors import FlyweightError

Normalize = Literal["none", "mean", "l2"]


@dataclass(frozen=True)
class global_:
    """The units of the least saliency go, whatever pool they are of, until the fraction of parameters is reached.

    ``normalize`` makes pools comparable first: by the ``"mean"`` of |s| over the pool, or by its ``"l2"`` norm ‖s‖₂.
    ``least`` is the fraction of its units that each pool keeps in any case; one unit always stays. With
    ``of="units"`` the ratio is that of all units, whatever they weigh: "70 % of the channels" of network slimming.
    """

    normalize: Normalize = "none"
    least: float = 0.0
    of: Literal["parameters", "units"] = "parameters"

    def __post_init__(self) -> None:
        if self.normalize not in get_args(Normalize):
            raise FlyweightError(
                f"FlyweightError: global_ got normalize={self.normalize!r}. "
                f"Choose one of {', '.join(map(repr, get_args(Normalize)))}."
            )
        if self.of not in ("parameters", "units"):
            raise FlyweightError(f"FlyweightError: global_ got of={self.of!r}. Choose 'parameters' or 'units'.")
        if not 0 <= self.least <= 1:
            raise FlyweightError(
                f"FlyweightError: global_ got least={self.least!r}. Give the fraction of units that each pool keeps in "
                "any case, as in least=0.1."
            )

    def __call__(
        self, pools: Sequence[Pool], saliency: Sequence[Tensor], ratio: float, damage: Damage | None
    ) -> list[float]:
        times = [self._comparable(scores.sort().values.double()) for scores in saliency]
        return earliest(pools, saliency, ratio, times, self.least, self.of == "units")

    def _comparable(self, scores: Tensor) -> Tensor:
        # Infinity is a time at which nothing goes any more; the most salient unit may have to go all the same.
        largest = torch.finfo(torch.float64).max
        finite = scores.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs()
        count = max(1, int((scores > -torch.inf).sum()))  # of those that are not gone already
        size = {"none": 1.0, "mean": float(finite.sum()) / count, "l2": float(finite.norm())}[self.normalize]
        return (scores / (size or 1.0)).clamp(-largest, largest)
