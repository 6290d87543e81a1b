"""One choice for each layer, so that enough is saved at the least damage: the multiple-choice knapsack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_STATES = 20_000
"""Partial sums that are kept side by side; up to here the answer is exact."""


def least_damage(options: Sequence[Sequence[tuple[float, float]]], need: float) -> list[int] | None:
    """For each layer the place of one of its ``options``, (saving, damage), of the least damage in all.

    Minimises Σ damage subject to Σ saving ≥ ``need``; None where all that could be saved is less. Dynamic programming
    over the sums that no other beats in both (Nemhauser and Ullmann 1969, as for the knapsack). Where there are more
    than 20,000 of them, those are dropped that are nearly equal to their neighbours, so that the answer still saves
    ``need`` and is best to that.

    >>> least_damage([[(0, 0), (3, 1), (5, 9)], [(0, 0), (4, 2)]], need=5)
    [1, 1]
    """
    saved, hurt = np.zeros(1), np.zeros(1)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    # What the layers still to come may save bounds what is of use.
    reach = [0.0]
    for choices in reversed(options):
        reach.append(reach[-1] + max(s for s, _ in choices))
    for index, choices in enumerate(options):
        own = np.asarray(choices, dtype=float)
        sums = (saved[:, None] + own[None, :, 0]).ravel()
        total = (hurt[:, None] + own[None, :, 1]).ravel()
        before, chosen = np.divmod(np.arange(len(sums)), len(own))
        # More than is needed is worth no more.
        worth = np.minimum(sums, need)
        order = np.lexsort((total, -worth))
        order = order[worth[order] + reach[len(options) - 1 - index] >= need - 1e-12 * max(1.0, abs(need))]
        if not len(order):
            return None
        lowest = np.minimum.accumulate(total[order])
        kept = order[np.r_[True, lowest[1:] < lowest[:-1]]]
        if len(kept) > _STATES:
            kept = kept[np.unique(np.linspace(0, len(kept) - 1, _STATES).astype(int))]
        steps.append((before[kept], chosen[kept]))
        saved, hurt = sums[kept], total[kept]
    place = int(hurt.argmin())
    picked = []
    for before, chosen in reversed(steps):
        picked.append(int(chosen[place]))
        place = int(before[place])
    return picked[::-1]
