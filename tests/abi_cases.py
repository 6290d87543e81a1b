"""Random layers of the C interface, and what they compute in float64 by the twins."""

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st

from flyweight.kernels.abi import ACTIVATIONS
from flyweight.kernels.reference import matrix as by_loops
from flyweight.kernels.reference.activation import activate
from flyweight.kernels.reference.convolution import convolution

BLOCKS = (1, 2, 4, 8, 16)
POINT = (1, 1, 1, 1, 0, 0, 0, 0)
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 70))
SPARSITIES = st.one_of(st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.floats(0, 1))


def sparse_matrix(random, rows, inputs, taps, block, sparsity, dense, empty_rows):
    """``fw_matrix`` with random tiles."""
    grid = -(-rows // block), taps * inputs
    keep = np.ones(grid, bool) if dense else random.random(grid) >= sparsity
    if empty_rows and not dense:
        keep[random.random(grid[0]) < 0.4] = False
    values = random.standard_normal((int(keep.sum()), block)).astype(np.float32)
    if rows % block:  # zeros where a tile reaches over the edge
        over = np.repeat(np.arange(grid[0]), keep.sum(1)) == grid[0] - 1
        values[np.ix_(over, np.arange(block) >= rows % block)] = 0
    bits = np.packbits(keep.reshape(-1))
    return {
        "rows": rows,
        "inputs": inputs,
        "taps": taps,
        "block_rows": block,
        "block_columns": 1,
        "values": values.reshape(-1),
        "value_count": values.size,
        "keep": None if dense else bits,
        "keep_bytes": 0 if dense else len(bits),
    }


def bias_of(random, rows, has):
    return random.standard_normal(rows).astype(np.float32) if has else None


PADDING = st.integers(0, 4) | st.integers(0, 20)
"""Also more than a kernel reaches over: rows of the result that meet nothing of the image."""


@st.composite
def windows(draw, most_kernel=5):
    """(kernel_h, kernel_w, stride…, dilation…, top, left, bottom, right); half of them with loops of their own."""
    if draw(st.booleans()):
        side, stride = draw(st.sampled_from([3, 5])), draw(st.integers(1, 2))
        return [side, side, stride, stride, 1, 1, *(draw(PADDING) for _ in range(4))]
    kernel = [draw(st.integers(1, most_kernel)) for _ in range(2)]
    return [
        *kernel,
        *(draw(st.integers(1, 3)) for _ in range(4)),
        *(draw(PADDING) for _ in range(4)),
    ]


def image_for(draw, window):
    """A height and a width on which ``window`` gives something."""
    sides = []
    for kernel, dilation, first, last in zip(window[:2], window[4:6], window[6:8], window[8:10], strict=True):
        least = max(1, dilation * (kernel - 1) + 1 - first - last)
        sides.append(least + draw(st.one_of(st.integers(0, 6), st.integers(0, 40))))
    assume(sides[0] * sides[1] <= 1500)
    return sides


def result_size(window, height, width):
    return [
        (side + first + last - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, dilation, first, last in zip(
            (height, width), window[:2], window[2:4], window[4:6], window[6:8], window[8:10], strict=True
        )
    ]


@st.composite
def conv_specs(draw, random, rows=None, inputs=None, window=None):
    rows = rows or draw(SIZES)
    inputs = inputs or draw(SIZES)
    window = window or draw(windows())
    assume(rows * inputs * window[0] * window[1] <= 60_000)
    block = draw(st.sampled_from(BLOCKS))
    weight = sparse_matrix(
        random, rows, inputs, window[0] * window[1], block, draw(SPARSITIES), draw(st.booleans()), draw(st.booleans())
    )
    bias = bias_of(random, rows, draw(st.booleans()))
    return {"weight": weight, "window": window, "bias": bias, "activation": draw(st.sampled_from(range(5)))}


@st.composite
def conv_cases(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    told = draw(conv_specs(random))
    height, width = image_for(draw, told["window"])
    batch = draw(st.sampled_from([1, 1, 2, 3, 0]))
    x = random.standard_normal((batch, told["weight"]["inputs"], height, width)).astype(np.float32)
    size = batch, told["weight"]["rows"], *result_size(told["window"], height, width)
    residual = random.standard_normal(size).astype(np.float32) if draw(st.booleans()) else None
    return told, x, residual


@st.composite
def tall_cases(draw):
    """Convolutions of many channels on images so tall that their copies are cut into bands."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    window = [draw(st.integers(2, 5)), draw(st.integers(1, 3)), *draw(windows())[2:]]
    window[2] = draw(st.sampled_from([1, 1, 2]))
    rows, inputs = draw(st.integers(1, 17)), draw(st.integers(60, 80))
    weight = sparse_matrix(
        random, rows, inputs, window[0] * window[1], draw(st.sampled_from(BLOCKS)), 0.7, False, False
    )
    told = {"weight": weight, "window": window, "bias": None, "activation": draw(st.integers(0, 1))}
    x = random.standard_normal((1, inputs, draw(st.integers(150, 300)), draw(st.integers(16, 30)))).astype(np.float32)
    size = 1, rows, *result_size(window, *x.shape[2:])
    return told, x, random.standard_normal(size).astype(np.float32) if draw(st.booleans()) else None


@st.composite
def linear_cases(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = st.one_of(st.integers(1, 40), st.integers(1, 300))
    rows, inputs = draw(sizes), draw(sizes)
    block = draw(st.sampled_from(BLOCKS))
    weight = sparse_matrix(random, rows, inputs, 1, block, draw(SPARSITIES), draw(st.booleans()), draw(st.booleans()))
    told = {"weight": weight, "bias": bias_of(random, rows, draw(st.booleans())), "activation": draw(st.integers(0, 4))}
    tokens = draw(st.one_of(st.sampled_from([0, 1, 1, 2, 16]), st.integers(1, 150)))
    x = random.standard_normal((tokens, inputs)).astype(np.float32)
    residual = random.standard_normal((tokens, rows)).astype(np.float32) if draw(st.booleans()) else None
    return told, x, residual


def depthwise_spec(draw, random, channels, window):
    return {
        "channels": channels,
        "window": window,
        "weight": random.standard_normal((channels, *window[:2])).astype(np.float32),
        "bias": bias_of(random, channels, draw(st.booleans())),
        "activation": draw(st.integers(0, 4)),
    }


@st.composite
def depthwise_cases(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels, window = draw(SIZES), draw(windows(7))
    told = depthwise_spec(draw, random, channels, window)
    batch = draw(st.sampled_from([1, 1, 2, 3, 0]))
    x = random.standard_normal((batch, channels, *image_for(draw, window))).astype(np.float32)
    return told, x, None


@st.composite
def block_cases(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels, inputs, rows, window = draw(SIZES), draw(SIZES), draw(SIZES), draw(windows())
    point = [1, 1, *POINT]
    expand = draw(conv_specs(random, channels, inputs, point)) if draw(st.booleans()) else None
    inputs = inputs if expand else channels
    residual = draw(st.booleans())
    if residual:
        kernel, dilation = window[:2], window[4:6]
        whole = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        window = [*kernel, 1, 1, *dilation, *(one // 2 for one in whole), *(one - one // 2 for one in whole)]
        rows = inputs
    told = {
        "expand": expand,
        "depthwise": depthwise_spec(draw, random, channels, window),
        "project": draw(conv_specs(random, rows, channels, point)),
        "residual": int(residual),
    }
    batch = draw(st.sampled_from([1, 1, 2, 3, 0]))
    x = random.standard_normal((batch, inputs, *image_for(draw, window))).astype(np.float32)
    return told, x, None


@st.composite
def large_block_cases(draw):
    """Blocks on images so large that they are made in strips."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels, inputs, window = draw(st.integers(60, 100)), draw(st.integers(1, 9)), draw(windows())
    window[2:4] = draw(st.sampled_from([[1, 1], [2, 1], [1, 2]]))
    point = [1, 1, *POINT]
    parts = {
        name: {
            "weight": sparse_matrix(random, *size, 1, draw(st.sampled_from(BLOCKS)), 0.7, False, False),
            "window": point,
            "bias": bias_of(random, size[0], True),
            "activation": draw(st.integers(0, 2)),
        }
        for name, size in (("expand", (channels, inputs)), ("project", (draw(st.integers(1, 17)), channels)))
    }
    if draw(st.booleans()):
        parts["expand"], inputs = None, channels
    told = {**parts, "depthwise": depthwise_spec(draw, random, channels, window), "residual": 0}
    x = random.standard_normal((1, inputs, draw(st.integers(60, 100)), draw(st.integers(40, 60)))).astype(np.float32)
    return told, x, None


def doubles(array):
    return None if array is None else torch.from_numpy(np.asarray(array, np.float64))


def dense(told, kernel):
    """The weight of ``fw_matrix``, by loops."""
    shape = told["rows"], told["inputs"], *kernel
    keep = np.zeros(0, np.uint8) if told["keep"] is None else told["keep"]
    return by_loops.unpack(doubles(told["values"]), torch.from_numpy(keep), shape, (told["block_rows"], 1))


def absolute(*tensors):
    return [None if one is None else one.abs() for one in tensors]


class Sum:
    """A result in float64, and the sum of the absolute values of the terms that made it, by which an error is told."""

    def __init__(self, value, terms):
        self.value, self.terms = value, terms

    def conv(self, weight, bias, residual, window, activation):
        told = window[2:], ACTIVATIONS[activation]
        value = convolution(self.value, weight, bias, None if residual is None else residual.value, *told)
        added = None if residual is None else residual.terms
        terms = convolution(self.terms, *absolute(weight, bias), added, window[2:], "")
        return Sum(value, terms)


def expected(kind, told, x, residual):
    """What a layer gives, as a :class:`Sum`."""
    x = Sum(doubles(x), doubles(x).abs())
    added = None if residual is None else Sum(doubles(residual), doubles(residual).abs())
    if kind == "linear":
        weight, bias = dense(told["weight"], ()), doubles(told["bias"])
        value = x.value @ weight.T + (0 if bias is None else bias) + (0 if added is None else added.value)
        terms = x.terms @ weight.abs().T + (0 if bias is None else bias.abs()) + (0 if added is None else added.terms)
        return Sum(activate(value, ACTIVATIONS[told["activation"]]), terms)
    if kind == "conv":
        weight = dense(told["weight"], told["window"][:2])
        return x.conv(weight, doubles(told["bias"]), added, told["window"], told["activation"])
    if kind == "depthwise":
        weight = doubles(told["weight"])[:, None]
        return x.conv(weight, doubles(told["bias"]), None, told["window"], told["activation"])
    y = x if told["expand"] is None else expected_of(x, "conv", told["expand"], None)
    y = expected_of(y, "depthwise", told["depthwise"], None)
    return expected_of(y, "conv", told["project"], x if told["residual"] else None)


def expected_of(x, kind, told, residual):
    """The same of what layers before it gave."""
    weight = doubles(told["weight"])[:, None] if kind == "depthwise" else dense(told["weight"], told["window"][:2])
    return x.conv(weight, doubles(told["bias"]), residual, told["window"], told["activation"])
