"""Sizes of layers: their outputs and products are torch's, whatever is kept of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from flyweight.core.errors import ShapeError
from flyweight.measure.geometry import Geometry


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([1, 2, 3]),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from([0, 1, 2, "same", "valid"]),
    st.integers(1, 2),
)
def test_a_convolution_s_output_and_products(dims, kernel, groups, each, stride, padding, dilation) -> None:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    stride = 1 if padding == "same" else stride
    layer = kind(2 * groups, each * groups, kernel[:dims], stride, padding, dilation, groups)
    x = torch.zeros(1, 2 * groups, *(8, 7, 9)[:dims])
    found = Geometry.of(layer, x.shape[1:])
    with FlopCounterMode(display=False) as counter:
        wanted = layer(x)
    assert found.output == wanted.shape[1:]
    assert 2 * found.macs == counter.get_total_flops()


def test_a_linear_layer_s() -> None:
    layer = nn.Linear(6, 5)
    assert Geometry.of(layer, (6,)) == Geometry((5, 6), (6,))
    found = Geometry.of(layer, (3, 6))
    assert (found.output, found.macs) == ((3, 5), 90)
    assert found.kept(outputs=2) == Geometry((2, 6), (3, 6))
    assert found.kept(inputs=4) == Geometry((5, 4), (3, 4))


def test_what_is_kept_of_a_convolution() -> None:
    layer = Geometry.of(nn.Conv2d(6, 8, 3, padding=1), (6, 5, 5))
    assert layer.kept(3, 2) == Geometry.of(nn.Conv2d(2, 3, 3, padding=1), (2, 5, 5))
    assert layer.kept() == layer
    grouped = Geometry.of(nn.Conv2d(6, 9, 3, groups=3), (6, 5, 5))
    assert grouped.kept(outputs=3) == Geometry.of(nn.Conv2d(6, 3, 3, groups=3), (6, 5, 5))
    depthwise = Geometry.of(nn.Conv2d(6, 12, 3, groups=6), (6, 5, 5))
    left = Geometry.of(nn.Conv2d(2, 4, 3, groups=2), (2, 5, 5))
    assert depthwise.kept(outputs=4) == depthwise.kept(inputs=2) == depthwise.kept(4, 2) == left
    assert depthwise.kept() == depthwise


def test_groups_that_do_not_divide_are_refused() -> None:
    grouped = Geometry.of(nn.Conv2d(6, 9, 3, groups=3), (6, 5, 5))
    with pytest.raises(ShapeError, match="in 3 groups cannot have 6 inputs and 4 outputs. Give multiples of 3"):
        grouped.kept(outputs=4)


@pytest.mark.parametrize(
    "sizes",
    [
        {"weight": (4, 3), "input": (4,)},
        {"weight": (4, 3, 3, 3), "input": (3, 8)},
        {"weight": (4, 3, 3, 3), "input": (4, 8, 8)},
        {"weight": (4, 3, 3, 3), "input": (3, 2, 2)},
        {"weight": (4, 1, 3), "input": (3, 8), "groups": 3},
        {"weight": (0, 3), "input": (3,)},
        {"weight": (4,), "input": (4,)},
        {"weight": (4, 4), "input": ()},
    ],
    ids=str,
)
def test_shapes_that_do_not_fit_are_refused(sizes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(
        ShapeError, match=r"no layer has a weight of shape .* Give \(outputs, inputs / groups, \*kernel\)"
    ):
        Geometry(**sizes)
