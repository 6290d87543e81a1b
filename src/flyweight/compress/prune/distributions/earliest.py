"""From an order in which units would go to the fraction that each pool loses: what all distributions end with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flyweight.compress.prune.pool import Pool
from flyweight.core.errors import FlyweightError, TrainingError


def earliest(
    pools: Sequence[Pool],
    saliency: Sequence[Tensor],
    ratio: float,
    times: Sequence[Tensor],
    least: float = 0.0,
    alike: bool = False,
) -> list[float]:
    """The fraction of units that each pool loses when units go by ``times`` until ``ratio`` of the parameters is gone.

    ``times[i][j]``, not falling in j, is when the unit of pool i that is j-th from the least salient goes; infinity:
    never. At equal times the pool that lost the smaller fraction goes first. Units of saliency −∞ are gone already, and
    go before all others. The fraction ``least`` of each pool's units, and at least one, always stays. Every fraction is
    a count of units over ``len(pool.kept)``, exactly. What goes is ``ratio`` of all parameters to half a unit
    (everything that may go, where that is less), and grows with ``ratio`` in every pool. If units are ``alike``, each
    counts as one, and ``ratio`` is of all units.

    Raises :class:`FlyweightError` for a ratio outside [0, 1), :class:`TrainingError` for a saliency of NaN.
    """
    check_ratio(ratio)
    if not pools:
        return []
    device = saliency[0].device
    costs, when, share, owner = [], [], [], []
    for index, (pool, scores, time) in enumerate(zip(pools, saliency, times, strict=True)):
        units = len(scores)
        if bool(scores.isnan().any()):
            raise TrainingError(
                f"TrainingError: units of {pool.name!r} have a saliency of NaN and can't be ordered. "
                "Check that the model's weights and the score's evidence are finite, or exclude the layer."
            )
        # 0.07 of 100 is a little above 7 in floats, and means 7.
        may = max(0, units - max(1, math.ceil(least * units - 1e-9)))
        order = ascending(scores)
        costs.append(_sizes(pool, alike).to(device)[order][:may])
        gone = scores.to(device)[order][:may] == -math.inf
        when.append(time.to(device, torch.float64)[:may].masked_fill(gone, -math.inf))
        share.append((torch.arange(may, device=device, dtype=torch.float64) + 0.5) / max(1, units))
        owner.append(torch.full((may,), index, device=device))
    cost, moment, pool_of = torch.cat(costs), torch.cat(when), torch.cat(owner)
    order = torch.cat(share).argsort(stable=True)
    order = order[moment[order].argsort(stable=True)]
    order = order[moment[order] < torch.inf]
    total = sum(float(_sizes(pool, alike).sum()) for pool in pools)
    leaving = order[: _nearest(cost[order].cumsum(0), ratio * total)]
    counts = torch.bincount(pool_of[leaving], minlength=len(pools)).tolist()
    return [count / max(1, len(scores)) for count, scores in zip(counts, saliency, strict=True)]


def _sizes(pool: Pool, alike: bool) -> Tensor:
    sizes = pool.parameters.double()
    return torch.ones_like(sizes) if alike else sizes


def ascending(saliency: Tensor) -> Tensor:
    """The units in the order in which they go: the reverse of that in which :func:`strongest` keeps them."""
    return saliency.argsort(descending=True, stable=True).flip(0)


def check_ratio(ratio: float) -> None:
    """Raises :class:`FlyweightError` unless 0 ≤ ``ratio`` < 1."""
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio < 1:
        raise FlyweightError(
            f"FlyweightError: ratio={ratio!r} is no fraction to remove. Give 0 or more and less than 1, "
            "as in ratio=0.5 for half of the parameters."
        )


def _nearest(sums: Tensor, target: float) -> int:
    """How many of the summands come nearest to ``target``; of two that are equally near the fewer."""
    if not len(sums):
        return 0
    place = int(torch.searchsorted(sums, target))
    below = float(sums[place - 1]) if place else 0.0
    if place == len(sums):
        return place
    return place + 1 if float(sums[place]) - target < target - below else place
