import math
from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.compress.prune.cut import counts


def pool(units, gone=0, round_to=1):
    return SimpleNamespace(kept=torch.arange(units) >= gone, round_to=round_to)


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 0.99), st.integers(0, 59)), min_size=1, max_size=6))
def test_together_they_lose_their_fractions_exactly_and_none_all_and_nothing_comes_back(settings):
    pools = [pool(units, min(gone, units - 1)) for units, _, gone in settings]
    fractions = [fraction for _, fraction, _ in settings]
    kept = counts(pools, fractions)
    lost = [units - keep for (units, _, _), keep in zip(settings, kept, strict=True)]
    already = [int((~p.kept).sum()) for p in pools]
    assert all(keep >= 1 for keep in kept)
    assert all(a >= b for a, b in zip(lost, already, strict=True))
    wanted = math.fsum(f * u for u, f, _ in settings)
    most = sum(u - 1 for u, _, _ in settings)
    clamped = min(max(wanted, sum(already)), most)
    assert abs(sum(lost) - clamped) <= 0.5 + 1e-6
    if not any(already) and all(f * u <= u - 1 for u, f, _ in settings):
        assert all(abs(n - f * u) < 1 + 1e-6 for n, (u, f, _) in zip(lost, settings, strict=True))


@given(st.integers(1, 100), st.floats(0, 0.99), st.integers(1, 16), st.integers(0, 99))
def test_kept_counts_are_multiples_unless_all_that_is_there_is_kept(units, fraction, multiple, gone):
    gone = min(gone, units - 1)
    (kept,) = counts([pool(units, gone, multiple)], [fraction])
    left = units - gone
    assert 1 <= kept <= left
    assert kept % multiple == 0 or kept == left
    if units >= multiple and gone == 0 and kept % multiple == 0:
        assert abs(kept - (units - fraction * units)) <= multiple / 2 + 1 or kept == multiple


def test_what_rounding_leaves_over_goes_by_the_largest_remainder():
    assert counts([pool(10), pool(10), pool(10)], [0.24, 0.27, 0.29]) == [8, 7, 7]
    assert counts([pool(10, gone=6), pool(10)], [0.5, 0.5]) == [4, 6]
    assert counts([pool(1), pool(3)], [0.9, 0.9]) == [1, 1]
