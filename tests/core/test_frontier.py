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
