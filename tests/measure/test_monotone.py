"""Isotonic regression: as scikit-learn has it."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.measure.monotone import monotone

isotonic = importlib.import_module("sklearn.isotonic")


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 9)), min_size=1, max_size=12))
def test_it_is_the_nearest_that_rises(pairs: list[tuple[float, float]]) -> None:
    values, weights = zip(*pairs, strict=True)
    found = monotone(values, weights)
    assert found == sorted(found)
    assert found == pytest.approx(isotonic.isotonic_regression(values, sample_weight=weights), abs=1e-9)
    assert monotone(found) == found, "what rises stays"


def test_of_nothing_there_is_nothing() -> None:
    assert monotone([]) == []
