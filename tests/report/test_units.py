"""Numbers with their units: three figures that keep the value."""

from __future__ import annotations

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.report import axes, labels, markup, picture, scale, units, words

_SIZES = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@pytest.mark.parametrize("module", [units, scale, axes, picture, words, markup, labels])
def test_the_examples_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@given(st.integers(1, 10**15))
def test_an_amount_is_within_half_a_percent(value: int) -> None:
    number, unit = units.amount(value).split(" ")
    assert float(number.replace(",", "")) * _SIZES[unit] == pytest.approx(value, rel=0.005)
    assert len(re.sub(r"[.,]|^0\.0*", "", number)) <= 4


@given(st.floats(1e-6, 1e9))
def test_figures_are_three_and_never_a_power_of_ten(value: float) -> None:
    text = units.figures(value)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("size_bytes", 999, "999 B"),
        ("size_bytes", 999_999, "1.00 MB"),
        ("peak_memory_bytes", 12_345_678, "12.3 MB"),
        ("latency_ms", 0.01234, "0.0123 ms"),
        ("load_ms", 25_000, "25.0 s"),
        ("energy_mj", 0.5, "0.500 mJ"),
        ("parameters", 98_570, "98.6 k"),
        ("macs", None, units.MISSING),
        ("size_bytes", float("nan"), units.MISSING),
    ],
)
def test_each_cost_has_its_unit(name: str, value: float | None, told: str) -> None:
    assert units.cost(name, value) == told
