"""Differences: in steps on a grid, relative off it, and NaN where NaN is due."""

from __future__ import annotations

import pytest
import torch

from flyweight.deploy.differences import TOLERANCES, difference


def test_on_a_grid_steps_count() -> None:
    a = torch.arange(10.0) * 0.5
    b = a.clone()
    b[3] += 0.5
    b[4] -= 1.0
    found = difference(a, b, step=0.5)
    assert (found.steps, found.share, found.excess) == (2.0, 0.8, 2.0)
    assert str(found) == "2 steps of 0.5, with 20.0 % of its numbers unequal"


def test_on_a_grid_a_tolerance_counts_that_is_more_than_a_step() -> None:
    a = torch.arange(100.0) * 0.5
    b = a.clone()
    b[3] += 1.5
    found = difference(a, b, step=0.5, tolerance=0.05)
    assert found.allowed == pytest.approx(0.05 * 49.5 / 0.5)
    assert found.excess == pytest.approx(3 / found.allowed)
    assert difference(a, b, step=0.5, tolerance=1e-3).excess == difference(a, b, step=0.5).excess == 3.0


def test_off_a_grid_the_largest_value_is_the_measure() -> None:
    a = torch.tensor([1000.0, 1.0])
    found = difference(a, a + torch.tensor([0.0, 0.05]))
    assert found.excess == pytest.approx(0.05 / (TOLERANCES[torch.float32] * 1000), rel=1e-3)
    assert found.share == 1
    assert difference(a, a + 0.2).excess > 1
    assert difference(a, a + 0.2, tolerance=1e-2).excess < 1


def test_whole_numbers_must_be_equal() -> None:
    a = torch.arange(5)
    assert difference(a, a).excess == 0
    assert difference(a, a.flip(0)).excess > 1


def test_nan_equals_nan_and_nothing_else() -> None:
    a = torch.tensor([1.0, float("nan"), float("inf")])
    assert difference(a, a).max_abs == 0
    assert difference(a, torch.tensor([1.0, 2.0, float("inf")])).max_abs == float("inf")
    assert difference(torch.zeros(2), torch.tensor([0.0, float("nan")])).excess == float("inf")
