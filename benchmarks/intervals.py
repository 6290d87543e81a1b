"""Means over seeds with their intervals, and the interval of a ratio of two paired means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None]:
    """The mean and the half-width of Student's interval; None for a single value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    return mean, _t(len(values) - 1, level) * statistics.stdev(values) / math.sqrt(len(values))


def ratio_interval(above: Sequence[float], below: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Fieller's interval of mean(above) / mean(below), the values paired; None where it has no two ends.

    All r are in it for which the mean of above − r·below is not told from 0 by Student's test: the roots of
    (b² − t²·v_bb)·r² − 2(ab − t²·v_ab)·r + (a² − t²·v_aa), with v the (co)variances of the means. Where the mean of
    ``below`` itself is not told from 0, no r can be ruled out on one side.
    Source: Fieller 1954, Journal of the Royal Statistical Society B 16, 175–185.

    >>> [round(end, 3) for end in ratio_interval([2.0, 2.1, 1.9], [3.9, 4.2, 4.0])]
    [0.449, 0.544]
    """
    n = len(above)
    if n < 2:
        return None
    a, b = statistics.fmean(above), statistics.fmean(below)
    square = _t(n - 1, level) ** 2 / n
    aa, bb = square * statistics.variance(above), square * statistics.variance(below)
    ab = square * statistics.covariance(above, below)
    lead, middle, last = b * b - bb, a * b - ab, a * a - aa
    if lead <= 0:
        return None
    root = math.sqrt(max(0.0, middle * middle - lead * last))
    return (middle - root) / lead, (middle + root) / lead


def _t(freedom: int, level: float) -> float:
    """Student's t at which the fraction ``level`` lies within ±t, by bisection of Simpson's integral of its density."""
    factor = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)

    def inside(t: float) -> float:
        # In the angle x = tan θ·√ν the density is a power of a cosine, smooth and bounded for every ν.
        end, steps = math.atan(t / math.sqrt(freedom)), 200
        points = [math.cos(end * i / steps) ** (freedom - 1) for i in range(steps + 1)]
        simpson = points[0] + points[-1] + 4 * sum(points[1:-1:2]) + 2 * sum(points[2:-1:2])
        return 2 * factor * math.sqrt(freedom) * simpson * end / steps / 3

    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return high
