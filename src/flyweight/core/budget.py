"""Budgets: upper bounds on measured costs, such as ``latency_ms<=2``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from flyweight.core.errors import BudgetError, unknown_name
from flyweight.core.footprint import COSTS
from flyweight.core.pace import Pace
from flyweight.core.point import Point

_FORM = re.compile(r"^\s*([a-z_]\w*)\s*<=\s*([0-9][0-9_]*\.?[0-9_]*(?:[eE][+-]?\d+)?|inf)\s*$")


@dataclass(frozen=True)
class Budget:
    """``field <= limit`` on a measured field of the footprint.

    >>> Budget.parse("size_bytes<=200_000")
    Budget(field='size_bytes', limit=200000.0)
    """

    field: str
    limit: float

    def __post_init__(self) -> None:
        if self.field not in COSTS:
            raise unknown_name("measured field", self.field, COSTS)
        if not self.limit > 0:
            raise BudgetError(f"BudgetError: {self.field}<={self.limit:g} can never be met. Give a limit above 0.")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads ``"size_bytes<=200_000"``; raises :class:`BudgetError` or :class:`UnknownNameError`."""
        match = _FORM.match(text)
        if match is None:
            raise BudgetError(
                f"BudgetError: {text!r} is no budget. Write field<=number, as in 'size_bytes<=200_000' "
                f"or 'latency_ms<=2'; fields: {', '.join(COSTS)}."
            )
        return cls(match[1], float(match[2].replace("_", "")))

    def excess(self, point: Point) -> float:
        """How far ``point`` is over: 0 where it keeps the budget, .5 at half as much again, inf where not measured.

        A latency that the search measured within the limit keeps it too where the last measuring is above no more than
        the machine was slower by then (:class:`~flyweight.core.pace.Pace`).
        """
        value = point.value(self.field)
        if value is None:
            return float("inf")
        return 0.0 if self.excuse(point) is not None else max(0.0, value / self.limit - 1)

    def excuse(self, point: Point) -> str | None:
        """One sentence on both measurements, where ``point`` keeps the budget but for the pace of the last one."""
        pace = Pace.of(point)
        if pace is None or not pace.excuses(point, self.field, self.limit):
            return None
        return (
            f"{self} was met in the search, which measured {pace.then[self.field]:.3g} ms; the last measuring "
            f"says {point.value(self.field):.3g} ms, when the machine was {100 * (pace.slower - 1):.2g} % slower"
        )

    def __str__(self) -> str:
        """What :meth:`parse` reads back, to the last digit: a run keeps its budgets so.

        >>> str(Budget("size_bytes", 1234567))
        'size_bytes<=1234567'
        """
        return f"{self.field}<={repr(float(self.limit)).removesuffix('.0')}"


def closest(points: Iterable[Point], budgets: Iterable[Budget]) -> str:
    """One sentence on which of ``points`` came closest to ``budgets``, for the error that none meets them.

    A candidate that was measured untrained counts where it breaks them: that is why it was not trained.
    """
    wanted = tuple(budgets)

    def counts(point: Point) -> bool:
        if point.failure is None:
            return point.quality is not None
        return 0 < sum(b.excess(point) for b in wanted) < float("inf")

    ready = [p for p in points if counts(p)]
    if not ready:
        return "no candidate was finished, so none came close"
    best = min(ready, key=lambda p: sum(b.excess(p) for b in wanted))
    told = ", ".join(
        f"{b.field}={best.value(b.field):g}" if best.value(b.field) is not None else f"{b.field} not measured"
        for b in wanted
    )
    return f"closest came {best.label!r} with {told}" + ("" if best.failure is None else " (not trained)")
