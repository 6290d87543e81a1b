"""Random integer layers of the C interface, and what they compute by integers in numpy."""

import numpy as np
from hypothesis import strategies as st

from abi_cases import image_for, windows

SIZES = st.one_of(st.integers(1, 9), st.integers(1, 40))


def tiles(weight):
    """``fw_matrix`` of a weight (rows, inputs, kernel_h, kernel_w): its tiles of 4x4 that hold a number."""
    rows, inputs = weight.shape[:2]
    flat = weight.reshape(rows, inputs, -1)
    flat = np.pad(flat, ((0, -rows % 4), (0, -inputs % 4), (0, 0)))
    grid = flat.reshape(len(flat) // 4, 4, flat.shape[1] // 4, 4, flat.shape[2]).transpose(0, 4, 2, 1, 3)
    grid = grid.reshape(-1, 16)
    kept = (grid != 0).any(1)
    values, keep = grid[kept].reshape(-1), np.packbits(kept)
    return {
        "rows": rows,
        "inputs": inputs,
        "taps": flat.shape[2],
        "block_rows": 4,
        "block_columns": 4,
        "values": values,
        "value_count": values.size,
        "keep": keep,
        "keep_bytes": len(keep),
    }


def all_tiles(weight):
    """The same with every tile, and no bits."""
    return {**tiles(weight), **whole(weight), "keep": None, "keep_bytes": 0}


def whole(weight):
    filled = tiles(np.where(weight == 0, np.int8(1), weight))
    bits = np.unpackbits(tiles(weight)["keep"])
    values = np.zeros((len(filled["values"]) // 16, 16), np.int8)
    values[np.flatnonzero(bits)] = tiles(weight)["values"].reshape(-1, 16)
    return {"values": values.reshape(-1), "value_count": values.size}


def in_fours(image, random):
    """(batch, channels, height, width) as c4, with anything in the channels beyond the last."""
    batch, channels, height, width = image.shape
    groups = -(-channels // 4)
    wide = random.integers(0, 256, (batch, groups * 4, height, width), dtype=np.uint8)
    wide[:, :channels] = image
    return np.ascontiguousarray(wide.reshape(batch, groups, 4, height, width).transpose(0, 1, 3, 4, 2))


def from_fours(image, channels):
    batch, groups, height, width, _ = image.shape
    return image.transpose(0, 1, 4, 2, 3).reshape(batch, groups * 4, height, width)[:, :channels]


def seen(image, window, border):
    """What each place of the kernel sees, (taps, batch, channels, height, width)."""
    kernel_h, kernel_w, stride_h, stride_w, step_h, step_w, top, left, bottom, right = window
    image = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=border)
    height = (image.shape[2] - (kernel_h - 1) * step_h - 1) // stride_h + 1
    width = (image.shape[3] - (kernel_w - 1) * step_w - 1) // stride_w + 1
    rows = [slice(i * step_h, i * step_h + (height - 1) * stride_h + 1, stride_h) for i in range(kernel_h)]
    columns = [slice(j * step_w, j * step_w + (width - 1) * stride_w + 1, stride_w) for j in range(kernel_w)]
    return np.stack([image[:, :, row, column] for row in rows for column in columns])


def rounded(sums, told):
    """Sums as the bytes of the result, as ONNX Runtime's QLinearConv makes them."""
    if told["bias"] is not None:
        sums = sums + told["bias"].astype(np.int64).reshape(-1, 1, 1)
    sums = ((sums + 2**31) % 2**32 - 2**31).astype(np.int32)
    scaled = sums.astype(np.float32) * told["scale"].reshape(-1, 1, 1)
    low, high = (np.float32(told[name] - told["y_zero"]) for name in ("y_low", "y_high"))
    return (np.rint(np.clip(scaled, low, high)).astype(np.int32) + told["y_zero"]).astype(np.uint8)


def convolved(image, weight, told):
    taps = seen(image.astype(np.int64) - told["x_zero"], told["window"], 0)
    columns = weight.reshape(*weight.shape[:2], -1).astype(np.int64)
    return rounded(np.einsum("tnchw,mct->nmhw", taps, columns), told)


def each_convolved(image, weight, told):
    taps = seen(image.astype(np.int64) - told["x_zero"], told["window"], 0)
    return rounded(np.einsum("tnchw,ct->nchw", taps, weight.reshape(len(weight), -1).astype(np.int64)), told)


def largest(image, window):
    return seen(image, window, 0).max(0)


@st.composite
def some_windows(draw):
    """Any window, and more often those that networks have."""
    common = [[3, 3, 1, 1, 1, 1, 1, 1, 1, 1], [3, 3, 2, 2, 1, 1, 1, 1, 1, 1], [*[1] * 6, *[0] * 4]]
    if draw(st.booleans()):
        return draw(st.sampled_from(common))
    return draw(windows())


def requantization(draw, random, rows, terms):
    """Numbers that spread the results over most of their range, and sometimes far beyond it."""
    spread = draw(st.sampled_from([1.0, 1.0, 0.1, 3e7])) / (74 * np.sqrt(max(1, terms)))
    low, high = sorted(draw(st.tuples(*[st.integers(0, 255)] * 2))) if draw(st.booleans()) else (0, 255)
    return {
        "bias": random.integers(-9999, 9999, rows).astype(np.int32) if draw(st.booleans()) else None,
        "scale": (random.uniform(0.2, 2, rows) * spread).astype(np.float32),
        "x_zero": draw(st.integers(0, 255)),
        "y_zero": draw(st.one_of(st.just(0), st.integers(0, 255))),
        "y_low": low,
        "y_high": high,
    }


@st.composite
def qconvs(draw):
    """``(told, x, wanted)``: a layer as the worker takes it, an image in c4, and the result (without c4)."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, inputs, window = draw(SIZES), draw(SIZES), draw(some_windows())
    height, width = image_for(draw, window)
    weight = random.integers(-128, 128, (rows, inputs, *window[:2]), dtype=np.int8)
    keep = random.random((-(-rows // 4), -(-inputs // 4), *window[:2])) >= draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    weight *= keep.repeat(4, 0).repeat(4, 1)[:rows, :inputs].astype(np.int8)
    image = random.integers(0, 256, (draw(st.integers(1, 3)), inputs, height, width), dtype=np.uint8)
    told = {"window": window, **requantization(draw, random, rows, np.count_nonzero(weight) / rows)}
    wanted = convolved(image, weight, told)
    told["weight"] = (all_tiles if draw(st.booleans()) else tiles)(weight)
    return told, in_fours(image, random), wanted


@st.composite
def qdepthwises(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, window = draw(SIZES), draw(some_windows())
    height, width = image_for(draw, window)
    weight = random.integers(-128, 128, (channels, *window[:2]), dtype=np.int8)
    image = random.integers(0, 256, (draw(st.integers(1, 3)), channels, height, width), dtype=np.uint8)
    told = {"channels": channels, "window": window, "weight": weight}
    told.update(requantization(draw, random, channels, window[0] * window[1]))
    return told, in_fours(image, random), each_convolved(image, weight, told)


@st.composite
def qmaxpools(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, window = draw(SIZES), draw(some_windows())
    height, width = image_for(draw, window)
    image = random.integers(0, 256, (draw(st.integers(1, 3)), channels, height, width), dtype=np.uint8)
    return {"channels": channels, "window": window}, in_fours(image, random), largest(image, window)


def added(a, b, spec):
    """As ONNX Runtime's QLinearAdd, in float32 one operation after another."""
    a_scale, b_scale, y_scale = (np.float32(scale) for scale in spec[:3])
    a_zero, b_zero, y_zero, low, high = spec[3:]
    a_scale, b_scale = a_scale / y_scale, b_scale / y_scale
    shift = np.float32(y_zero) - (a_scale * np.float32(a_zero) + b_scale * np.float32(b_zero))
    sums = (shift + a_scale * a.astype(np.float32)) + b_scale * b.astype(np.float32)
    return np.rint(np.clip(sums, np.float32(low), np.float32(high))).astype(np.uint8)


def a_point(random, rows, inputs):
    """A 1x1 convolution with some of its tiles, and its weight."""
    weight = random.integers(-128, 128, (rows, inputs, 1, 1), dtype=np.int8)
    keep = random.random((-(-rows // 4), -(-inputs // 4), 1, 1)) < 0.6
    weight *= keep.repeat(4, 0).repeat(4, 1)[:rows, :inputs].astype(np.int8)
    told = {"window": [*[1] * 6, *[0] * 4], "weight": tiles(weight), **some_rounding(random, rows, inputs)}
    return told, weight


def some_rounding(random, rows, terms):
    low, high = sorted(random.integers(0, 256, 2)) if random.random() < 0.4 else (0, 255)
    return {
        "bias": random.integers(-9999, 9999, rows).astype(np.int32),
        "scale": (random.uniform(0.2, 2, rows) / (74 * np.sqrt(terms))).astype(np.float32),
        "x_zero": int(random.integers(0, 256)),
        "y_zero": int(random.choice([0, random.integers(0, 256)])),
        "y_low": int(low),
        "y_high": int(high),
    }


def a_block(random, window, channels, size, expands=True, sums=True, batch=1):
    """``(told, x, other, wanted)``: expand (or not), depthwise and project, with another image added or not."""
    inputs, wide, rows = channels
    expand, first = a_point(random, wide, inputs) if expands else (None, None)
    weight = random.integers(-128, 128, (wide, *window[:2]), dtype=np.int8)
    depthwise = {"channels": wide, "window": window, "weight": weight, **some_rounding(random, wide, weight[0].size)}
    project, last = a_point(random, rows, wide)
    image = random.integers(0, 256, (batch, inputs if expands else wide, *size), dtype=np.uint8)
    made = convolved(image, first, expand) if expands else image
    wanted = convolved(each_convolved(made, weight, depthwise), last, project)
    other = None
    if sums:
        image_of = random.integers(0, 256, wanted.shape, dtype=np.uint8)
        spec = (0.03, 0.02, 0.04, *(int(zero) for zero in random.integers(0, 256, 3)), 0, 255)
        project |= {"sum": spec, "sum_second": int(random.integers(0, 2))}
        wanted = added(image_of, wanted, spec) if project["sum_second"] else added(wanted, image_of, spec)
        other = in_fours(image_of, random)
    parts = [("qconv", expand), ("qdepthwise", depthwise), ("qconv", project)]
    return {"parts": parts, "rows": rows}, in_fours(image, random), other, wanted


@st.composite
def qblocks(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    window, channels = draw(some_windows()), (draw(SIZES), draw(SIZES), draw(SIZES))
    ways = {"expands": draw(st.booleans()), "sums": draw(st.booleans()), "batch": draw(st.integers(1, 3))}
    return a_block(random, window, channels, image_for(draw, window), **ways)
