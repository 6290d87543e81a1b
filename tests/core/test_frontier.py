"""Points, budgets, the frontier: against a naive definition, and what a user gets told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.core.budget import Budget, closest
from flyweight.core.errors import BudgetError, StoreError, UnknownNameError
from flyweight.core.footprint import Footprint
from flyweight.core.frontier import Frontier, frontier
from flyweight.core.point import Point, Score


def point(label, quality, size=None, ms=None, **more):
    score = None if quality is None else Score(value=quality, low=quality - 0.01, high=quality + 0.01, examples=100)
    return Point(id=label, label=label, quality=score, footprint=Footprint(size_bytes=size, latency_ms=ms), **more)


def naive(points, costs):
    def worse(a, b):  # a is dominated by b
        pairs = [(-a.quality.value, -b.quality.value)] + [(a.value(c), b.value(c)) for c in costs]
        return all(y <= x for x, y in pairs) and any(y < x for x, y in pairs)

    kept = []
    for p in points:
        same = [q for q in kept if (q.quality.value, *map(q.value, costs)) == (p.quality.value, *map(p.value, costs))]
        if not same and not any(worse(p, q) for q in points):
            kept.append(p)
    return {p.id for p in kept}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), max_size=12))
def test_the_frontier_is_the_naive_one(rows):
    points = [point(str(i), q / 10, s, m) for i, (q, s, m) in enumerate(rows)]
    for costs in (("size_bytes",), ("size_bytes", "latency_ms")):
        assert {p.id for p in frontier(points, costs)} == naive(points, costs)


def test_failed_and_unmeasured_points():
    good, failed = point("good", 0.9, 100, 1.0), point("failed", None, failure="exploded")
    unmeasured = point("unmeasured", 0.95, 100, None)
    assert [p.label for p in frontier([good, failed, unmeasured])] == ["unmeasured", "good"]
    with pytest.raises(UnknownNameError, match="Did you mean 'size_bytes'"):
        frontier([good], ("sise_bytes",))


def test_best_keeps_the_limits_and_says_what_came_closest():
    found = Frontier((point("big", 0.9, 1000, 2.0), point("small", 0.8, 100, 1.0)))
    assert found.best().label == "big"
    assert found.best(size_bytes=200).label == "small"
    with pytest.raises(BudgetError, match=r"no model meets size_bytes<=50; closest came 'small' with size_bytes=100"):
        found.best(size_bytes=50)
    with pytest.raises(UnknownNameError, match="latency_ms"):
        found.best(latency=3)


BIG, SMALL, TINY = point("big", 0.9, 1000, 2.0), point("small", 0.8, 100, 1.0), point("tiny", 0.7, 10, 0.5)
BASE = point("base", 0.85, 5000, 3.0, baseline=True)


@pytest.mark.parametrize(
    ("about", "label"),
    [
        ({}, "big"),
        ({"budgets": [], "max_drop": None}, "big"),
        ({"budgets": ["size_bytes<=500"]}, "small"),
        ({"budgets": ["size_bytes<=5000", "latency_ms<=0.9"]}, "tiny"),
        ({"max_drop": 0.06}, "small"),
        ({"max_drop": 0}, "big"),
        ({"budgets": ["latency_ms<=2.5"], "max_drop": 0.2}, "tiny"),
    ],
)
def test_best_without_limits_is_what_the_run_was_asked_for(about, label):
    found = Frontier((BASE, BIG, SMALL, TINY), about=about)
    assert found.best().label == label
    assert Frontier.from_json(found.to_json()).best().label == label
    # Limits that are named stand in the place of the run's.
    assert found.best(size_bytes=1000).label == "big"


def test_best_without_limits_says_what_the_run_was_asked_for_where_none_is():
    found = Frontier((BASE, BIG, SMALL), about={"budgets": ["size_bytes<=50"]})
    with pytest.raises(BudgetError) as caught:
        found.best()
    assert str(caught.value) == (
        "BudgetError: no model meets size_bytes<=50; closest came 'small' with size_bytes=100. Every point was kept "
        "and is in the report. Allow more, search longer, or try --strategy free. So the run was asked; for other "
        "limits name them, as in best(size_bytes=200_000)."
    )
    held = Frontier((BASE, BIG, SMALL), about={"budgets": ["size_bytes<=100"], "max_drop": 0.01})
    with pytest.raises(BudgetError, match=r"'small' has the best quality, 0\.8.*So the run was asked"):
        held.best()
    assert held.best(size_bytes=100).label == "small"


@pytest.mark.parametrize("about", [{}, {"budgets": ["size_bytes<=9"]}, {"max_drop": 0.1}])
def test_best_of_nothing_finished(about):
    for points in ((), (point("dead", None, failure="exploded"),)):
        with pytest.raises(BudgetError, match="no candidate was finished"):
            Frontier(points, about=about).best()


def test_of_equal_qualities_the_cheaper_is_the_best():
    twin = point("twin", 0.9, 900, 5.0)
    assert Frontier((BIG, twin)).best(size_bytes=2000).label == "twin"
    assert Frontier((BIG, twin)).best(latency_ms=9).label == "big"
    assert Frontier((BIG, twin), about={"budgets": ["latency_ms<=9", "size_bytes<=2000"]}).best().label == "big"


@given(st.floats(0, exclude_min=True, allow_nan=False) | st.integers(1, 10**15))
def test_a_budget_is_told_to_the_last_digit(limit):
    told = str(Budget("size_bytes", limit))
    assert Budget.parse(told) == Budget("size_bytes", float(limit))


def test_json_both_ways():
    found = Frontier((point("a", 0.9, 10, 1.0, baseline=True), point("b", None, failure="no")), about={"task": "t"})
    again = Frontier.from_json(found.to_json())
    assert again.points == found.points
    assert again.about == found.about
    assert again.baseline.label == "a"
    assert Point.from_json({**found.points[0].to_json(), "of a later version": 1}) == found.points[0]


def test_a_folder_without_a_frontier(tmp_path):
    with pytest.raises(StoreError, match=r"holds no frontier\.json"):
        Frontier.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "field", "limit"), [("size_bytes<=200_000", "size_bytes", 2e5), (" latency_ms <= 2.5", "latency_ms", 2.5)]
)
def test_budgets_are_read(text, field, limit):
    assert Budget.parse(text) == Budget(field, limit)


@pytest.mark.parametrize("text", ["size_bytes<200", "200", "size_bytes<=big", ""])
def test_what_is_no_budget_is_told_the_form(text):
    with pytest.raises(BudgetError, match="field<=number"):
        Budget.parse(text)


def test_budgets_on_what_is_not_measured():
    with pytest.raises(UnknownNameError, match="Did you mean 'latency_ms'"):
        Budget.parse("latency<=2")
    with pytest.raises(BudgetError, match="never be met"):
        Budget.parse("size_bytes<=0")
    assert Budget("energy_mj", 1).excess(point("a", 1.0)) == float("inf")
    assert "no candidate was finished" in closest([], [Budget("size_bytes", 1)])
