"""Groupings against naive loops."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.compress.sparsify.grouping import elements, inputs, outputs, tiles
from flyweight.core.errors import FlyweightError


def naive(grouping, weight, branches):
    """The groups as lists of values, by loops over the weight's indices."""
    out, per = weight.shape[:2]
    found = {}
    for place in itertools.product(*map(range, weight.shape)):
        o, i = place[0], place[1]
        column = i * weight[0, 0].numel() + int(torch.arange(weight[0, 0].numel()).reshape(weight.shape[2:])[place[2:]])
        key = {
            elements: place,
            outputs: o,
            inputs: (o // (out // branches)) * per + i,
            tiles: (o // getattr(grouping, "down", 1), column // getattr(grouping, "across", 1)),
        }[type(grouping)]
        found.setdefault(key, []).append(float(weight[place]))
    return sorted(sorted(values) for values in found.values())


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([elements(), outputs(), inputs(), tiles(2, 3), tiles(4, 1), tiles(16, 5)]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([(), (3,), (2, 2)]),
)
def test_rows_are_the_groups_and_whole_puts_them_back(grouping, branches, per_out, per_in, kernel):
    weight = torch.randn(branches * per_out, per_in, *kernel)
    rows, sizes = grouping.rows(weight, branches), grouping.sizes(weight, branches)
    assert torch.equal(grouping.whole(rows, weight, branches), weight)
    assert int(sizes.sum()) == weight.numel() and len(sizes) == len(rows)
    got = [sorted(v for v in row.tolist() if v != 0) for row in rows]  # (padding is 0, and no value drawn is)
    assert sorted(got) == naive(grouping, weight, branches)
    assert [len(g) for g in got] == sizes.tolist()


def test_tiles_refuse_nothing():
    with pytest.raises(FlyweightError, match=r"tiles got 0×4. Give two whole numbers"):
        tiles(0, 4)
