"""Which point to take."""

from __future__ import annotations

import pytest

from flyweight.core.budget import Budget
from flyweight.core.errors import BudgetError
from flyweight.core.footprint import Footprint
from flyweight.core.point import Point, Score
from flyweight.core.verdict import verdict


def point(label: str, quality: float | None, size: int, latency: float | None = 1.0, baseline: bool = False) -> Point:
    score = None if quality is None else Score(value=quality, low=quality, high=quality, examples=10)
    footprint = Footprint(size_bytes=size, latency_ms=latency)
    failure = "broke" if quality is None else None
    return Point(id=label, label=label, quality=score, footprint=footprint, baseline=baseline, failure=failure)


POINTS = (
    point("base", 0.90, 1000, 2.0, baseline=True),
    point("grown", 0.93, 500, 3.0),
    point("small", 0.895, 50, 0.5),
    point("tiny", 0.80, 10, 0.1),
    point("dead", None, 1),
)


def test_takes_none_where_nothing_was_asked_for() -> None:
    assert verdict(POINTS) is None


def test_takes_the_best_that_keeps_the_budgets() -> None:
    taken = verdict(POINTS, [Budget("size_bytes", 600), Budget("latency_ms", 2.5)])
    assert taken is not None
    assert taken.label == "small"


@pytest.mark.parametrize(("drop", "label"), [(0.01, "small"), (0.004, "grown"), (0.2, "tiny"), (0.0, "grown")])
def test_takes_the_smallest_that_keeps_the_quality(drop: float, label: str) -> None:
    taken = verdict(POINTS, (), drop)
    assert taken is not None
    assert taken.label == label


def test_says_what_came_closest_to_a_budget() -> None:
    with pytest.raises(BudgetError) as caught:
        verdict(POINTS, [Budget("size_bytes", 5)])
    assert str(caught.value) == (
        "BudgetError: no model meets size_bytes<=5; closest came 'tiny' with size_bytes=10. "
        "Every point was kept and is in the report. Allow more, search longer, or try --strategy free."
    )


def test_says_what_came_closest_to_budget_and_quality() -> None:
    with pytest.raises(BudgetError) as caught:
        verdict(POINTS, [Budget("size_bytes", 40)], 0.01)
    text = str(caught.value)
    assert "no model meets size_bytes<=40 and keeps a quality of 0.89 (the baseline's less 0.01)" in text
    assert "of those that keep the quality, closest came 'small' with size_bytes=50" in text
    assert "of those that meet the budget, 'tiny' has the best quality, 0.8" in text


def test_says_that_nothing_was_finished() -> None:
    with pytest.raises(BudgetError, match="no candidate was finished"):
        verdict((point("dead", None, 1),), [Budget("size_bytes", 5)])


def test_says_that_nothing_was_finished_where_only_quality_was_asked_for() -> None:
    with pytest.raises(BudgetError, match="no model meets what was asked for; no candidate was finished"):
        verdict((point("dead", None, 1),), (), 0.1)


def test_a_cost_that_was_not_measured_keeps_no_budget() -> None:
    blind = (point("blind", 0.9, 10, None),)
    with pytest.raises(BudgetError, match="latency_ms not measured"):
        verdict(blind, [Budget("latency_ms", 5)])


def test_a_point_at_the_very_drop_is_near_enough() -> None:
    found = (point("base", 0.8, 100, baseline=True), point("small", 0.7, 10))
    taken = verdict(found, (), 0.1)  # 0.8 - 0.1 is more than 0.7 in binary
    assert taken is not None
    assert taken.label == "small"
