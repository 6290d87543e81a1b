"""What the user says."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from flyweight.compress.prune.distributions.earliest import ascending, check_ratio, earliest
from flyweight.compress.prune.pool import Damage, Pool
from flyweight.core.errors import FlyweightError, UnknownNameError


@dataclass(frozen=True)
class fixed:
    """Each pool loses the fraction of its units that the first glob matching its name says; others lose nothing.

    ``ratios`` are pairs, as in ``(("stem", 0.2), ("*", 0.7))``. The asked fraction of all parameters may be less than
    they come to, as it is on the way of a schedule: then all pools lose in proportion. Raises :class:`FlyweightError`
    where it is more, or for a ratio outside [0, 1), and :class:`UnknownNameError` for a glob that matches no pool.
    """

    ratios: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        try:
            pairs = tuple((str(glob), ratio) for glob, ratio in self.ratios)
        except (TypeError, ValueError) as error:
            raise FlyweightError(
                f"FlyweightError: fixed got ratios={self.ratios!r}. Give pairs of a glob and a ratio, as in "
                'fixed((("stem", 0.2), ("*", 0.7))).'
            ) from error
        for _, ratio in pairs:
            check_ratio(ratio)
        object.__setattr__(self, "ratios", pairs)

    def __call__(
        self, pools: Sequence[Pool], saliency: Sequence[Tensor], ratio: float, damage: Damage | None
    ) -> list[float]:
        check_ratio(ratio)
        names = [pool.name for pool in pools]
        for glob, _ in self.ratios if pools else ():
            if not any(fnmatchcase(name, glob) for name in names):
                near = difflib.get_close_matches(glob, names, n=1, cutoff=0.0)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise UnknownNameError(f"UnknownNameError: fixed names {glob!r}, which no pool matches.{hint}")
        said = [next((r for glob, r in self.ratios if fnmatchcase(name, glob)), 0.0) for name in names]
        times = [_until(len(scores), share) for scores, share in zip(saliency, said, strict=True)]
        self._check(pools, saliency, said, ratio)
        return earliest(pools, saliency, ratio, times)

    def _check(self, pools: Sequence[Pool], saliency: Sequence[Tensor], said: list[float], ratio: float) -> None:
        total = sum(float(pool.parameters.double().sum()) for pool in pools)
        gone, largest = 0.0, 0.0
        for pool, scores, share in zip(pools, saliency, said, strict=True):
            costs = pool.parameters.double()[ascending(scores).to(pool.parameters.device)]
            gone += float(costs[: round(share * len(scores))].sum())
            largest = max(largest, float(costs.max()) if len(costs) else 0.0)
        if ratio * total > gone + len(pools) * largest / 2:
            raise FlyweightError(
                f"FlyweightError: fixed({self.ratios!r}) takes {gone / total:.3g} of the parameters away, and "
                f"ratio={ratio!r} was asked. Set ratio={_floored(gone / total)}, or name higher ratios."
            )


def _floored(x: float) -> float:
    """``x`` to three digits, not above it."""
    return int(x * 1000) / 1000


def _until(units: int, share: float) -> Tensor:
    """Evenly until the pool has lost ``share``, then never."""
    place = torch.arange(units, dtype=torch.float64)
    times = (place + 0.5) / max(1.0, units * share)
    return torch.where(place < round(share * units), times, torch.inf)
