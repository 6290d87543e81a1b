"""The rising sequence that is nearest to a measured one."""

from __future__ import annotations

from collections.abc import Sequence


def monotone(values: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """argmin Σ wᵢ(yᵢ − vᵢ)² over y₁ ≤ y₂ ≤ …: isotonic regression, by pooling neighbours that fall.

    ``weights`` are positive, all equal by default (Ayer et al. 1955, *An empirical distribution function for sampling
    with incomplete information*).

    >>> monotone([1.0, 3.0, 2.0, 4.0])
    [1.0, 2.5, 2.5, 4.0]
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight in zip(values, weights or [1.0] * len(values), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, heavy, count = pools.pop()
            total = heavy + pool[1]
            pool = ((mean * heavy + pool[0] * pool[1]) / total, total, count + pool[2])
        pools.append(pool)
    return [mean for mean, _, count in pools for _ in range(count)]
