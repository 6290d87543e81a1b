"""By what losing units costs, measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from flyweight.compress.prune.distributions.earliest import ascending, check_ratio, earliest
from flyweight.compress.prune.pool import Damage, Pool
from flyweight.core.errors import FlyweightError


@dataclass(frozen=True)
class sensitivity:
    """The least rise of the loss, summed over pools, at the asked fraction of parameters.

    Each pool alone is made to lose each of ``ratios`` of its units, and the rise of the loss measured; 0 costs nothing.
    Of its curve over the parameters gone, the lower convex hull counts, and what goes next is whatever rises least a
    parameter: on the hulls this is the optimum (Everett 1963: for some λ every pool minimises rise − λ·parameters).
    Beyond the last ratio, and where the loss was no number, units go after all others, evenly. So no pool loses more
    than that ratio before all have lost it, and from 0.9 on it does what uniform() does. For such fractions give ratios
    that go further, as in (0.5, 0.8, 0.9, 0.95, 0.98): each costs one evaluation a pool.
    Raises :class:`FlyweightError` without a model to measure on, or for ratios that do not rise within (0, 1).
    """

    ratios: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)

    measures: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(self.ratios))
        for ratio in self.ratios:
            check_ratio(ratio)
        if not self.ratios or list(self.ratios) != sorted({r for r in self.ratios if r > 0}):
            raise FlyweightError(
                f"FlyweightError: sensitivity got ratios={self.ratios!r}. Give fractions above 0 and below 1 that "
                "rise, as in (0.3, 0.5, 0.7, 0.9)."
            )

    def __call__(
        self, pools: Sequence[Pool], saliency: Sequence[Tensor], ratio: float, damage: Damage | None
    ) -> list[float]:
        check_ratio(ratio)
        if damage is None:
            raise FlyweightError(
                "FlyweightError: sensitivity measures what pruning does to the loss, and was given nothing to measure "
                "with. Prune at once or between trainings, or choose global_() or erdos_renyi()."
            )
        slopes = [self._slopes(pool, scores, damage) for pool, scores in zip(pools, saliency, strict=True)]
        steepest = max((float(s[s < math.inf].max()) for s in slopes if bool((s < math.inf).any())), default=0.0)
        after = steepest + abs(steepest) + 1.0
        return earliest(pools, saliency, ratio, [s.clamp(max=after) for s in slopes])

    def _slopes(self, pool: Pool, scores: Tensor, damage: Damage) -> Tensor:
        """By how much the loss rises for a parameter when each unit goes, from the least salient on."""
        units = len(scores)
        costs = pool.parameters.to(scores.device, torch.float64)[ascending(scores)].cumsum(0)
        counts = sorted({count for r in self.ratios if 0 < (count := round(r * units)) < units})
        points = [(0, 0.0, 0.0)]
        for count in counts:
            rise = float(damage(pool, count / units))
            if math.isfinite(rise):
                points.append((count, float(costs[count - 1]), rise))
        slopes = torch.full((units,), math.inf, dtype=torch.float64, device=scores.device)
        for (start, x0, y0), (end, x1, y1) in zip(hull := _lower_hull(points), hull[1:], strict=False):
            slopes[start:end] = (y1 - y0) / (x1 - x0)
        return slopes


def _lower_hull(points: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """The points of the lower convex hull, left to right; the x are rising."""
    hull: list[tuple[int, float, float]] = []
    for point in points:
        while len(hull) > 1 and _above(hull[-2], hull[-1], point):
            hull.pop()
        if not hull or point[1] > hull[-1][1]:
            hull.append(point)
    return hull


def _above(left: tuple[int, float, float], middle: tuple[int, float, float], right: tuple[int, float, float]) -> bool:
    """Whether ``middle`` does not lie below the line from ``left`` to ``right``."""
    return (middle[2] - left[2]) * (right[1] - left[1]) >= (right[2] - left[2]) * (middle[1] - left[1])
