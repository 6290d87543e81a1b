import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.core.errors import ShapeError
from flyweight.core.serial import from_json, to_json
from flyweight.numerics.granularity import per_channel, per_group, per_tensor


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.data())
def test_rows_come_back_whole(shape, data):
    x = torch.arange(float(torch.tensor(shape).prod())).reshape(shape)
    inputs = x[0].numel()
    size = data.draw(st.sampled_from([n for n in range(1, inputs + 1) if inputs % n == 0]))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    for granularity in (per_tensor(), per_channel(axis), per_group(size)):
        rows = granularity.rows(x)
        assert rows.dim() == 2
        assert torch.equal(granularity.whole(rows, x), x)


def test_rows_hold_what_shares_a_scale():
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert per_tensor().rows(x).shape == (1, 24)
    for channel in range(3):
        assert torch.equal(per_channel(1).rows(x)[channel], x[:, channel].reshape(-1))
    assert torch.equal(per_group(6).rows(x)[3], x[1].reshape(-1)[6:])


def test_a_group_that_does_not_divide_is_refused_with_those_that_do():
    with pytest.raises(ShapeError, match=r"770 inputs a channel are no multiple of group=128.*\(77, 110, 154\)"):
        per_group(128).rows(torch.zeros(3, 770))


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_a_group_is_a_positive_integer(size):
    with pytest.raises(ShapeError, match="per_group takes a size of 1 or more"):
        per_group(size)


def test_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ShapeError, match=r"per_channel\(axis=2\) has no axis in a weight of shape \(3, 4\)"):
        per_channel(2).rows(torch.zeros(3, 4))


def test_they_go_to_json_and_back():
    for granularity in (per_tensor(), per_channel(1), per_group(7)):
        assert from_json(to_json(granularity)) == granularity
