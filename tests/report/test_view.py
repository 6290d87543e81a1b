"""Which points are shown, and in which order."""

from __future__ import annotations

import dataclasses

from flyweight.core.frontier import Frontier
from flyweight.report.view import View, kind, placed


def test_the_baseline_is_listed_first_and_the_best_shown_first(frontier: Frontier) -> None:
    view = View.of(frontier)
    assert [p.id for p in view.shown] == ["bbb1", "ccc2", "ddd3", "aaa0", "eee4"]
    assert view.listed[0].id == "aaa0"
    assert sorted(p.id for p in view.listed) == sorted(p.id for p in view.shown)
    assert [p.id for p in view.failed] == ["fff5", "ggg6"]
    assert [view.stands(p) for p in view.shown] == [True, True, True, False, False]


def test_equal_points_are_told_apart(frontier: Frontier) -> None:
    first = frontier.points[1]
    twin = dataclasses.replace(first)
    view = View.of(dataclasses.replace(frontier, points=(*frontier.points, twin)))
    assert view.stands(first)
    assert not view.stands(twin)
    assert len(view.shown) == 6


def test_a_cost_without_a_logarithm_has_no_place(frontier: Frontier) -> None:
    point = frontier.points[0]
    for value in (None, 0, float("inf")):
        footprint = dataclasses.replace(point.footprint, energy_mj=value)
        assert placed(dataclasses.replace(point, footprint=footprint), "energy_mj") is None
    assert [p.id for p in View.of(frontier).stairs("latency_ms")] == ["ccc2", "bbb1"]


def test_kinds(frontier: Frontier) -> None:
    assert [kind(dataclasses.replace(frontier.points[0], bits=b)) for b in (32, 64, 16, 8, 4)] == [
        "float",
        "float",
        "other bits",
        "int8",
        "other bits",
    ]
