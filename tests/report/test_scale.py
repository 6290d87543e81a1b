"""Qualities as they are written."""

from __future__ import annotations

from flyweight.core.point import Point, Score
from flyweight.report.scale import Scale, change


def _point(value: float, report: float | None = None, examples: int = 1000) -> Point:
    def score(v: float) -> Score:
        return Score(value=v, low=v - 0.01, high=v + 0.01, examples=examples)

    return Point(id="a", label="a", quality=score(value), report=None if report is None else score(report))


def test_accuracies_are_percents_with_the_decimals_that_the_examples_allow() -> None:
    assert Scale.of([_point(0.5)]) == Scale(True, 1)
    assert Scale.of([_point(0.5, 0.5, examples=2000)]) == Scale(True, 2)


def test_other_metrics_stay_as_they_are() -> None:
    errors = Scale.of([_point(-12.3456), _point(0.5)])
    assert not errors.percent
    assert errors.show(_point(-12.3456).quality) == "−12.35"
    assert errors.change(-1.25) == "−1.25"
    assert errors.change(0.5) == "+0.500"
    assert errors.difference == ""


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    assert Scale(True, 1).change(-0.0001) == "0.0"
    assert Scale(True, 2).change(-0.0001) == "−0.01"


def test_changes_are_read_on_report_where_both_were() -> None:
    base = _point(0.9, 0.8)
    assert change(_point(0.91, 0.7), base)[1] == "report"
    assert round(change(_point(0.91, 0.7), base)[0] or 0, 6) == -0.1
    value, split = change(_point(0.91), base)
    assert (round(value or 0, 6), split) == (0.01, "select")
    assert change(base, None) == (None, "")
