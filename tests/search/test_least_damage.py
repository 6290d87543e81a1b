"""The least damage, against trying everything."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.search import least_damage as module
from flyweight.search.least_damage import least_damage

_OPTION = st.tuples(st.integers(0, 20), st.integers(-3, 20))
_LAYERS = st.lists(st.lists(_OPTION, min_size=1, max_size=4), min_size=1, max_size=5)


def brute(options: list[list[tuple[float, float]]], need: float) -> float | None:
    sums = [tuple(map(sum, zip(*choice, strict=True))) for choice in itertools.product(*options)]
    return min((damage for saving, damage in sums if saving >= need), default=None)


def value(options: list[list[tuple[float, float]]], picked: list[int]) -> tuple[float, float]:
    chosen = [choices[place] for choices, place in zip(options, picked, strict=True)]
    return sum(s for s, _ in chosen), sum(d for _, d in chosen)


@given(_LAYERS, st.integers(-5, 80))
def test_it_is_the_best_of_all(options: list[list[tuple[float, float]]], need: int) -> None:
    picked, best = least_damage(options, need), brute(options, need)
    assert (picked is None) == (best is None)
    if picked is not None:
        saving, damage = value(options, picked)
        assert saving >= need
        assert damage == best


@given(_LAYERS, st.integers(0, 60))
def test_where_sums_are_dropped_the_need_is_still_met(options: list[list[tuple[float, float]]], need: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STATES", 3)
        picked = least_damage(options, need)
    assert (picked is None) == (brute(options, need) is None)
    if picked is not None:
        assert value(options, picked)[0] >= need


def test_hundreds_of_layers_take_no_time() -> None:
    options = [[(0.1 * r * (1 + i % 7), (r / 10) ** 2 * (1 + i % 5)) for r in range(10)] for i in range(120)]
    picked = least_damage(options, 150.0)
    assert picked is not None
    saving, damage = value(options, picked)
    assert 150 <= saving < 151
    # For quadratic damage the best shares are in proportion to saving over weight: better than all alike.
    alike = next(r for r in range(10) if value(options, [r] * 120)[0] >= 150)
    assert damage < value(options, [alike] * 120)[1]
