"""What is told of points that keep a budget of the run but for the machine's pace in the last measuring."""

from __future__ import annotations

from flyweight.core.frontier import Frontier


def excuses(frontier: Frontier) -> tuple[str, ...]:
    """A sentence for each budget that the point to take keeps only at the pace of the search, with both times.

    Empty where the run was asked for nothing, nothing keeps the budgets, or the last measuring keeps them.
    """
    point, _ = frontier.asked()
    found = () if point is None else tuple(budget.excuse(point) for budget in frontier.budgets)
    return tuple(f"{point.label}: {told}." for told in found if told is not None and point is not None)
