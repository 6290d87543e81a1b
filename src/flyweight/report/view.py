"""What every face of a frontier asks first: which points to show, in which order, against what."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flyweight.core.frontier import Frontier, frontier
from flyweight.core.point import Point
from flyweight.report.scale import Scale

KINDS = ("float", "int8", "other bits")
"""The kinds that points are told apart by, in colour and in shape."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A frontier sorted for showing: ``shown`` are the finished points, the best first; ``failed`` those that failed,
    and ``left_out`` those that were not trained for what their untrained files cost.

    ``optimal`` holds the identities of the points that no other beats in the run's own costs.
    """

    shown: tuple[Point, ...]
    failed: tuple[Point, ...]
    left_out: tuple[Point, ...]
    baseline: Point | None
    optimal: frozenset[int]
    scale: Scale

    @classmethod
    def of(cls, given: Frontier) -> View:
        """The view of ``given``."""
        ready = [p for p in given.points if p.failure is None]
        best = given.optimal
        optimal = frozenset(map(id, best))
        rest = sorted((p for p in ready if id(p) not in optimal), key=_worth)
        return cls(
            shown=(*best, *rest),
            failed=tuple(p for p in given.points if p.failure is not None and not p.left_out),
            left_out=tuple(p for p in given.points if p.left_out),
            baseline=given.baseline,
            optimal=optimal,
            scale=Scale.of(ready),
        )

    @property
    def listed(self) -> tuple[Point, ...]:
        """The points in the order of a table: the baseline, which the others are read against, then ``shown``."""
        first = [p for p in self.shown if p is self.baseline]
        return (*first, *(p for p in self.shown if p is not self.baseline))

    def stands(self, point: Point) -> bool:
        """Whether ``point`` is on the run's frontier."""
        return id(point) in self.optimal

    def drawn(self, cost: str) -> list[Point]:
        """The points that have a place in a picture of quality against ``cost``, on a logarithmic axis."""
        return [p for p in self.shown if p.quality is not None and placed(p, cost) is not None]

    def stairs(self, cost: str) -> list[Point]:
        """The points that no other beats in quality and in ``cost`` alone, the cheapest first."""
        best = frontier(self.drawn(cost), (cost,))
        return sorted(best, key=lambda p: placed(p, cost) or 0.0)


def placed(point: Point, cost: str) -> float | None:
    """The value of ``cost`` where it has a place on a logarithmic axis."""
    value = point.value(cost)
    return value if value is not None and math.isfinite(value) and value > 0 else None


def kind(point: Point) -> str:
    """The kind of ``point`` by the width of its stored weights."""
    if point.bits == 8:
        return KINDS[1]
    return KINDS[0] if point.bits >= 32 else KINDS[2]


def _worth(point: Point) -> tuple[bool, float, float]:
    quality = point.quality.value if point.quality is not None else -math.inf
    return (point.quality is None, -quality, point.footprint.size_bytes or math.inf)
