"""The ranges and the ticks of a picture of quality against a cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from flyweight.core.point import Point
from flyweight.report.view import View, placed


@dataclass(frozen=True)
class Axes:
    """``low`` and ``high`` of both axes, in the units of the JSON: the cost's logarithmic, the quality's even."""

    cost: tuple[float, float]
    quality: tuple[float, float]

    @classmethod
    def of(cls, view: View, cost: str) -> Axes:
        """The ranges that show every point of the frontier and the baseline, intervals included.

        A dominated point may lie below: a candidate that learnt nothing would press the frontier flat otherwise.
        """
        drawn = view.drawn(cost)
        if not drawn:
            return cls((1.0, 10.0), (0.0, 1.0))
        stairs = set(map(id, view.stairs(cost)))
        telling = [p for p in drawn if id(p) in stairs or p is view.baseline or view.stands(p)]
        costs = [v for p in drawn if (v := placed(p, cost)) is not None]
        lows = [low for p in telling for low, _ in [bounds(p)]]
        highs = [high for p in drawn for _, high in [bounds(p)]]
        # A dominated point a little lower is let in; one far below would press the frontier flat.
        lows += [low for p in drawn for low, _ in [bounds(p)] if low >= min(lows) - 0.5 * (max(highs) - min(lows))]
        span = max(max(highs) - min(lows), 1e-9, 0.002 * abs(max(highs)))
        margin = max((max(costs) / min(costs)) ** 0.06, 1.15)
        low, high = min(lows) - 0.06 * span, max(highs) + 0.06 * span
        if view.scale.percent:
            low, high = max(low, -0.01), min(high, 1.01)
        return cls((min(costs) / margin, max(costs) * margin), (low, high))

    def below(self, point: Point) -> bool:
        """Whether ``point`` lies under the range of quality shown."""
        return point.quality is not None and point.quality.value < self.quality[0]


def bounds(point: Point) -> tuple[float, float]:
    """The 95 % interval of the quality on select; the value itself where an end is no number."""
    if point.quality is None:
        return (0.0, 0.0)
    value = point.quality.value
    ends = (point.quality.low, point.quality.high)
    low, high = (v if math.isfinite(v) else value for v in ends)
    return (min(low, value), max(high, value))


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers between ``low`` and ``high`` for a logarithmic axis, at most ``most``.

    >>> log_ticks(20_000, 6_000_000, 8)
    [20000.0, 50000.0, 100000.0, 200000.0, 500000.0, 1000000.0, 2000000.0, 5000000.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    least = 0.7 / most * math.log10(high / low)
    for digits in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{d * 10.0**e:.6g}") for e in range(first, last + 1) for d in digits]
        ticks = [t for t in ticks if low <= t <= high]
        apart = all(math.log10(b / a) >= least for a, b in itertools.pairwise(ticks))
        if 2 <= len(ticks) <= most and apart:
            return ticks
    decades = [10.0**e for e in range(first, last + 1) if low <= 10.0**e <= high]
    if len(decades) > 1:
        return decades[:: -(-len(decades) // most)]
    # Less than a decade, with one round number or none in it: even steps lie well enough.
    return even_ticks(low, high, max(2, most // 2))


def even_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers between ``low`` and ``high`` at an even step, at most ``most``.

    >>> even_ticks(0.69, 0.93)
    [0.7, 0.75, 0.8, 0.85, 0.9]
    """
    if not high > low:
        return [low]
    unit = 10.0 ** (math.floor(math.log10((high - low) / most)))
    for step in (unit * d for d in (1, 2, 2.5, 5, 10, 20)):
        ticks = _multiples(low, high, step)
        if len(ticks) <= most:
            return ticks
    return [low, high]


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{n * step:.10g}") for n in range(first, last + 1)]


def decimals(ticks: Sequence[float]) -> int:
    """How many decimals tell ``ticks`` apart."""
    return max((len(f"{t:.10g}".partition(".")[2]) for t in ticks), default=0)
