"""The fused block of the native library against float64, on each instruction set."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.kernels import abi
from native_layers import (
    PATHS,
    activate,
    conv_spec,
    depthwise_spec,
    depthwise_twin,
    layer,
    open_library,
    run,
    window,
)


def sparse(random: np.random.Generator, rows: int, inputs: int, block: int, kept: float) -> np.ndarray:
    weight = random.standard_normal((rows, inputs, 1, 1), np.float32) / np.sqrt(inputs).astype(np.float32)
    mask = random.random((-(-rows // block), inputs, 1, 1)) < kept
    return weight * np.repeat(mask, block, 0)[:rows]


def block_spec(expand, depthwise, project, residual):
    spec = abi.BlockSpec(
        None if expand is None else ctypes.pointer(expand), ctypes.pointer(depthwise), ctypes.pointer(project), residual
    )
    spec.alive = (expand, depthwise, project)
    return spec


def twin(x, expand, depthwise, project, place, activations, residual, bound):
    """The block in float64; with ``bound`` what its terms are at most, which errors are measured against."""
    part = abs if bound else (lambda a: a)
    made = part(x.astype(np.float64))
    x = made
    act = (lambda a, _: a) if bound else activate
    if expand is not None:
        weight, bias = expand
        made = act(
            np.einsum("ri,bihw->brhw", part(weight[:, :, 0, 0].astype(np.float64)), made) + part(bias)[:, None, None],
            activations[0],
        )
    made = act(depthwise_twin(made, part(depthwise[0]), part(depthwise[1]), place), activations[1])
    weight, bias = project
    made = np.einsum("ri,bihw->brhw", part(weight[:, :, 0, 0].astype(np.float64)), made) + part(bias)[:, None, None]
    return act(made + x if residual else made, activations[2])


@st.composite
def blocks(draw):
    residual = draw(st.booleans())
    kernel = draw(st.sampled_from([3, 3, 3, 5, 2]))
    stride = 1 if residual else draw(st.sampled_from([1, 2, 3]))
    inputs = draw(st.integers(1, 9))
    has_expand = draw(st.booleans())
    channels = draw(st.integers(1, 40)) if has_expand else inputs
    rows = inputs if residual else draw(st.integers(1, 20))
    before, after = (kernel - 1) // 2, kernel // 2
    pads = (before, before, after, after) if residual else draw(st.tuples(*[st.integers(0, 2)] * 4))
    size = draw(st.tuples(st.integers(1, 34), st.integers(1, 34)))
    size = tuple(max(side, kernel) for side in size)
    return residual, kernel, stride, inputs, has_expand, channels, rows, pads, size


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=80, deadline=None)
@given(
    shape=blocks(),
    batch=st.integers(1, 3),
    rows_of_blocks=st.tuples(*[st.sampled_from([1, 2, 4, 8, 16])] * 2),
    kept=st.sampled_from([0.1, 0.3, 1.0]),
    activations=st.tuples(*[st.integers(0, 4)] * 3),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_float64(path, shape, batch, rows_of_blocks, kept, activations, threads, seed):
    opened = open_library(path)
    residual, kernel, stride, inputs, has_expand, channels, rows, pads, size = shape
    random = np.random.default_rng(seed)
    place = window((kernel, kernel), (stride, stride), pads)
    x = random.standard_normal((batch, inputs, *size), np.float32)
    expand = (sparse(random, channels, inputs, rows_of_blocks[0], kept), random.standard_normal(channels, np.float32))
    depthwise = (
        random.standard_normal((channels, kernel, kernel), np.float32),
        random.standard_normal(channels, np.float32),
    )
    project = (sparse(random, rows, channels, rows_of_blocks[1], kept), random.standard_normal(rows, np.float32))
    spec = block_spec(
        conv_spec(expand[0], rows_of_blocks[0], expand[1], activations[0]) if has_expand else None,
        depthwise_spec(*depthwise, activations[1], place),
        conv_spec(project[0], rows_of_blocks[1], project[1], activations[2]),
        residual,
    )
    opened.fw_set_threads(threads)
    with layer(opened, "block", spec) as made:
        got = run(opened, made, x)
    arguments = (x, expand if has_expand else None, depthwise, project, place, activations, residual)
    exact, terms = twin(*arguments, bound=False), twin(*arguments, bound=True)
    assert got.shape == exact.shape
    assert (abs(got - exact) <= 1e-5 * terms + 1e-30).all()
