"""Which point to take: the one that keeps the budgets and the quality, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from flyweight.core.budget import Budget, closest
from flyweight.core.errors import BudgetError
from flyweight.core.point import Point

_ROUNDING = 1e-9
"""A quality of 0.7 is no less than 0.8 − 0.1, whatever binary fractions say."""


def verdict(points: Sequence[Point], budgets: Sequence[Budget] = (), max_drop: float | None = None) -> Point | None:
    """The one of ``points`` to take, or None where nothing was asked for.

    With a ``max_drop``: the smallest file that keeps the budgets and loses no more quality against the baseline on the
    select split. Without: the best quality that keeps the budgets, and of equal ones that of the lowest costs, in the
    order of the budgets. Raises :class:`BudgetError` where none does, telling what came closest.
    """
    if not budgets and max_drop is None:
        return None
    ready = [p for p in points if p.failure is None and p.quality is not None]
    base = next((p for p in ready if p.baseline), None)
    floor = None if max_drop is None or base is None else _quality(base) - max_drop
    near = [p for p in ready if floor is None or _quality(p) >= floor - _ROUNDING]
    met = [p for p in near if all(b.excess(p) == 0 for b in budgets)]
    if met and max_drop is not None:
        return min(met, key=lambda p: (_cost(p, "size_bytes"), -_quality(p)))
    if met:
        return min(met, key=lambda p: (-_quality(p), *(_cost(p, b.field) for b in budgets)))
    raise BudgetError(_unmet(points, ready, near, budgets, floor, max_drop))


def _unmet(
    points: Sequence[Point],
    ready: list[Point],
    near: list[Point],
    budgets: Sequence[Budget],
    floor: float | None,
    max_drop: float | None,
) -> str:
    wanted = " and ".join(map(str, budgets)) or "what was asked for"
    if floor is None or max_drop is None:
        return f"BudgetError: no model meets {wanted}; {closest(points, budgets)}. {_way(bool(ready))}"
    message = (
        f"BudgetError: no model meets {wanted} and keeps a quality of {floor:.4g} (the baseline's less "
        f"{max_drop:g}); of those that keep the quality, {closest(near, budgets)}"
    )
    small = [p for p in ready if all(b.excess(p) == 0 for b in budgets)]
    if small:
        best = max(small, key=_quality)
        message += f"; of those that meet the budget, {best.label!r} has the best quality, {_quality(best):.4g}"
    return f"{message}. {_way(bool(ready))}"


def _way(some: bool) -> str:
    kept = "Every point was kept and is in the report. " if some else ""
    return f"{kept}Allow more, search longer, or try --strategy free."


def _quality(point: Point) -> float:
    value = point.value("quality")
    return float("-inf") if value is None else value


def _cost(point: Point, name: str) -> float:
    value = point.value(name)
    return float("inf") if value is None else value
