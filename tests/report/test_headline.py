"""The result in words is computed, and claims no gain that is none."""

from __future__ import annotations

import dataclasses

import pytest

from flyweight.core.frontier import Frontier
from flyweight.core.point import Point, Score
from flyweight.report.headline import headline, picks


def _only(frontier: Frontier, *ids: str, **about: object) -> Frontier:
    return Frontier(tuple(p for p in frontier.points if p.id in ids), about=about)


def test_the_whole(frontier: Frontier) -> None:
    told = "47× smaller and 8.3× faster at −0.24 points, or as good as the baseline at 13× smaller"
    assert headline(frontier) == told
    assert [(p.name, p.point.id, p.gain) for p in picks(frontier)] == [
        ("Smallest", "ccc2", "47× smaller"),
        ("Fastest", "ccc2", "8.3× faster"),
        ("Best", "bbb1", "+0.09 points"),
    ]
    assert "89.87 % (89.28 to 90.46) on report · −0.24 points" in picks(frontier)[0].told
    assert "sparse kernels" not in picks(frontier)[0].told


def test_a_pick_says_where_it_needs_the_kernels(frontier: Frontier) -> None:
    points = (dataclasses.replace(p, needs=("the library",) if p.id == "ccc2" else ()) for p in frontier.points)
    told = [p.told for p in picks(dataclasses.replace(frontier, points=tuple(points)))]
    end = " · on the sparse kernels; a plain file stands beside it"
    assert [text.endswith(end) for text in told] == [True, True, False]


def test_the_loss_that_the_run_allows_decides(frontier: Frontier) -> None:
    wide = dataclasses.replace(frontier, about={"max_drop": 0.1})
    assert picks(wide)[0].point.id == "ddd3"
    assert headline(wide).startswith("88× smaller at −4.22 points, 8.3× faster at −0.24 points, or as good")
    strict = dataclasses.replace(frontier, about={"max_drop": 0.0})
    assert {p.point.id for p in picks(strict)} <= {"bbb1", "ccc2"}


def test_a_clear_gain_is_told_with_its_price(frontier: Frontier) -> None:
    base = frontier.points[0]
    better = Score(value=0.95, low=0.94, high=0.96, examples=2000)
    footprint = dataclasses.replace(base.footprint, size_bytes=10_762_246, speedup=0.5, latency_ms=4.0)
    grown = dataclasses.replace(base, id="h", baseline=False, quality=better, report=better, footprint=footprint)
    assert headline(Frontier((base, grown))) == "+4.89 points at 2.0× larger"


def test_a_gain_that_report_does_not_confirm_is_not_the_headline(frontier: Frontier) -> None:
    base, other = frontier.points[:2]
    footprint = dataclasses.replace(base.footprint, size_bytes=base.footprint.size_bytes, speedup=1.0)
    worse = Score(value=0.85, low=0.84, high=0.86, examples=10_000)
    lucky = dataclasses.replace(other, report=worse, footprint=footprint)
    assert headline(Frontier((base, lucky))).startswith("No point improves on the baseline")


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ((), "Nothing has been tried yet"),
        (("fff5",), "No candidate was finished"),
        (("aaa0",), "The baseline, and no other point yet"),
        (("aaa0", "eee4"), "No point improves on the baseline within the quality that may be lost"),
        (("bbb1", "ccc2"), "2 of 2 points on the frontier, without a baseline to compare with"),
    ],
)
def test_little_to_tell(frontier: Frontier, ids: tuple[str, ...], told: str) -> None:
    assert headline(_only(frontier, *ids)) == told


def test_a_metric_of_another_scale(frontier: Frontier) -> None:
    def of(point: Point, value: float) -> Point:
        found = Score(value=value, low=value - 0.1, high=value + 0.1, examples=100)
        return dataclasses.replace(point, quality=found, report=None)

    points = (of(frontier.points[0], -3.0), of(frontier.points[2], -3.05))
    assert headline(Frontier(points)) == "47× smaller and 8.3× faster at −0.0500"


@pytest.mark.parametrize(
    ("ids", "about", "told"),
    [
        (("aaa0", "eee4"), {"budgets": ["size_bytes<=10"]}, "No model meets size_bytes ≤ 10"),
        (
            ("aaa0", "ccc2"),
            {"budgets": ["size_bytes<=10", "latency_ms<=9"], "max_drop": 0.1},
            "No model meets size_bytes ≤ 10 and latency_ms ≤ 9 and keeps the quality that was asked for",
        ),
        (("aaa0", "ccc2"), {"budgets": ["size_bytes<=200000"]}, "47× smaller and 8.3× faster at −0.24 points"),
        (("aaa0", "eee4"), {"budgets": ["size_bytes<=1e9"]}, "No point improves on the baseline within the quality"),
    ],
)
def test_what_was_asked_for_comes_first(
    frontier: Frontier, ids: tuple[str, ...], about: dict[str, object], told: str
) -> None:
    assert headline(_only(frontier, *ids, **about)).startswith(told)


def test_a_budget_that_costs_more_than_may_be_lost_is_met_all_the_same(frontier: Frontier) -> None:
    """Without a pick, since it loses more than the baseline's own interval is wide, and that is no failure."""
    base, small = frontier.points[0], frontier.points[2]
    assert small.quality is not None
    low = dataclasses.replace(small.quality, value=0.8532, low=0.84, high=0.86)
    found = Frontier((base, dataclasses.replace(small, quality=low, report=None)), about={"budgets": ["latency_ms<=1"]})
    assert headline(found) == "latency_ms ≤ 1 is met at −5.00 points"
