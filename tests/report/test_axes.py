"""Ranges that show what matters, and ticks that are round and do not touch."""

from __future__ import annotations

import dataclasses
import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from flyweight.core.frontier import Frontier
from flyweight.core.point import Score
from flyweight.report.axes import Axes, bounds, decimals, even_ticks, log_ticks
from flyweight.report.view import View


@given(st.floats(1e-4, 1e9), st.floats(1.3, 1e7), st.integers(3, 10))
def test_logarithmic_ticks(low: float, ratio: float, most: int) -> None:
    high = low * ratio
    ticks = log_ticks(low, high, most)
    assert ticks == sorted(set(ticks))
    assert 1 <= len(ticks) <= most
    assert all(low * 0.999 <= t <= high * 1.001 for t in ticks)
    gaps = [math.log10(b / a) for a, b in itertools.pairwise(ticks)]
    assert all(gap > 0.25 / most * math.log10(ratio) for gap in gaps)


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e5), st.integers(3, 10))
def test_even_ticks(low: float, span: float, most: int) -> None:
    ticks = even_ticks(low, low + span, most)
    assert 1 <= len(ticks) <= most
    assert all(low - 1e-6 * span <= t <= low + span * (1 + 1e-6) for t in ticks)


def test_decimals() -> None:
    assert decimals([0.5, 0.25]) == 2
    assert decimals([]) == 0


def test_a_candidate_that_learnt_nothing_does_not_press_the_frontier_flat(frontier: Frontier) -> None:
    before = Axes.of(View.of(frontier), "size_bytes")
    nothing = dataclasses.replace(frontier.points[4], quality=Score(value=0.1, low=0.09, high=0.11, examples=2000))
    both = dataclasses.replace(frontier, points=(*frontier.points, nothing))
    after = Axes.of(View.of(both), "size_bytes")
    assert after.quality == before.quality
    assert after.below(nothing)
    assert not any(after.below(p) for p in View.of(frontier).drawn("size_bytes"))


def test_every_interval_of_the_frontier_is_inside(frontier: Frontier) -> None:
    view = View.of(frontier)
    low, high = Axes.of(view, "size_bytes").quality
    for point in view.drawn("size_bytes"):
        assert low <= bounds(point)[0] <= bounds(point)[1] <= high


def test_ends_that_are_no_numbers() -> None:
    frontier = Frontier(())
    assert Axes.of(View.of(frontier), "size_bytes") == Axes((1.0, 10.0), (0.0, 1.0))
