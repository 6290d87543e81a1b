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
    moments, sums = [], []
    for pool, scores, time in zip(pools, saliency, times, strict=True):
        units = len(scores)
        if bool(scores.isnan().any()):
            raise TrainingError(
                f"TrainingError: units of {pool.name!r} have a saliency of NaN and can't be ordered. "
                "Check that the model's weights and the score's evidence are finite, or exclude the layer."
            )
        # 0.07 of 100 is a little above 7 in floats, and means 7.
        may = max(0, units - max(1, math.ceil(least * units - 1e-9)))
        size = _sizes(pool, alike).to(device)
        if units and bool((size != size[0]).any()):
            size = size[ascending(scores)]
        time = time.to(device, torch.float64).clone()
        time[: int((scores == -math.inf).sum())] = -math.inf
        time = time[:may]
        moments.append(_ordered(time[: int((time < math.inf).sum())]))
        sums.append(torch.cat([size.new_zeros(1), size[: len(moments[-1])].cumsum(0)]))
    total = sum(float(_sizes(pool, alike).sum()) for pool in pools)
    counts = _until(moments, sums, ratio * total, [len(scores) for scores in saliency])
    return [count / max(1, len(scores)) for count, scores in zip(counts, saliency, strict=True)]


def _until(moments: list[Tensor], sums: list[Tensor], target: float, units: list[int]) -> list[int]:
    """How many units each pool has lost when the loss of all is nearest to ``target``.

    The moment is bracketed first, each pool's moments being in order: sorting all units of a large model is slow.
    """

    def lost(moment: int) -> list[int]:
        return [int(torch.searchsorted(one, moment, right=True)) for one in moments]

    def size(counts: list[int]) -> float:
        return math.fsum(float(one[count]) for one, count in zip(sums, counts, strict=True))

    before, after = -(2**63), 2**63 - 1
    if size(lost(after)) <= target:
        return lost(after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if size(lost(middle)) < target else (before, middle)
    counts, further = lost(before), lost(after)
    # Of the units that all go at this moment, one after another: first of the pool that lost the smaller fraction.
    spans = [torch.arange(start, end, device=sums[0].device) for start, end in zip(counts, further, strict=True)]
    share = torch.cat([(span + 0.5).double() / max(1, n) for span, n in zip(spans, units, strict=True)])
    sizes = torch.cat([one[span + 1] - one[span] for one, span in zip(sums, spans, strict=True)])
    owner = torch.cat([torch.full_like(span, index) for index, span in enumerate(spans)])
    order = share.argsort(stable=True)
    leaving = order[: _nearest(sizes[order].cumsum(0), target - size(counts))]
    more = torch.bincount(owner[leaving], minlength=len(units)).tolist()
    return [count + one for count, one in zip(counts, more, strict=True)]


def _nearest(sums: Tensor, target: float) -> int:
    """How many of the summands come nearest to ``target``; of two that are equally near the fewer."""
    place = int(torch.searchsorted(sums, target))
    if place == len(sums):
        return place
    below = float(sums[place - 1]) if place else 0.0
    return place + 1 if float(sums[place]) - target < target - below else place


def _ordered(x: Tensor) -> Tensor:
    """Floats as integers of the same order, so that halving an interval of them ends after 64 times."""
    bits = (x + 0.0).view(torch.int64)  # −0 becomes 0
    return torch.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)


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
