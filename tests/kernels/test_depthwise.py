"""Depthwise convolutions of the native library against float64, on each instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native_layers import PATHS, activate, depthwise_spec, depthwise_twin, layer, open_library, run, window

sides = st.integers(1, 40)


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    """Mostly those with loops of their own, else anything."""
    if draw(st.integers(0, 3)):
        k, s = draw(st.sampled_from([3, 5])), draw(st.sampled_from([1, 2]))
        kernel, stride, dilation = (k, k), (s, s), (1, 1)
    else:
        pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
        kernel, stride, dilation = draw(pair), draw(pair), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return kernel, stride, draw(st.tuples(*[st.integers(0, 4)] * 4)), dilation


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=120, deadline=None)
@given(
    places=windows(),
    height=sides,
    width=sides,
    channels=st.integers(1, 5),
    batch=st.integers(1, 3),
    activation=st.integers(0, 4),
    with_bias=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_float64(path, places, height, width, channels, batch, activation, with_bias, seed):
    opened = open_library(path)
    kernel, stride, pads, dilation = places
    height = max(height, (kernel[0] - 1) * dilation[0] + 1 - pads[0] - pads[2])
    width = max(width, (kernel[1] - 1) * dilation[1] + 1 - pads[1] - pads[3])
    place = window(kernel, stride, pads, dilation)
    random = np.random.default_rng(seed)
    x = random.standard_normal((batch, channels, height, width), np.float32)
    weight = random.standard_normal((channels, *kernel), np.float32)
    bias = random.standard_normal(channels, np.float32) if with_bias else None
    with layer(opened, "depthwise", depthwise_spec(weight, bias, activation, place)) as made:
        got = run(opened, made, x)
    exact = activate(depthwise_twin(x.astype(np.float64), weight, bias, place), activation)
    terms = depthwise_twin(abs(x).astype(np.float64), abs(weight), None if bias is None else abs(bias), place)
    assert got.shape == exact.shape
    assert (abs(got - exact) <= 1e-5 * terms + 1e-30).all()
