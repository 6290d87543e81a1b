"""The integer operations in ONNX Runtime, bit for bit what int64 arithmetic gives."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from flyweight.kernels import library
from ort_files import file, node, opened, run, tiles

pytestmark = pytest.mark.skipif(not library.available(), reason=f"no native kernels: {library.why_not()}")

RANDOM = np.random.default_rng(0)
ZEROS = {"x_zero": 117, "y_zero": 9, "y_low": 9, "y_high": 230}


def images(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def around(op, inputs, channels, weights, size, /, **attributes):
    """A session of Pack4, ``op``, Unpack4."""
    nodes = [
        node("Pack4", "x", "packed"),
        node(op, f"packed {inputs}", "made", **attributes),
        node("Unpack4", "made", channels=attributes.get("rows", channels)),
    ]
    return opened(file(nodes, {"x": ["N", channels, *size]}, weights, kind="u"), 2)


def requantized(total, scale):
    scaled = np.rint(total.numpy().astype(np.float32) * scale[:, None, None]).astype(np.int64) + ZEROS["y_zero"]
    return np.clip(scaled, ZEROS["y_low"], ZEROS["y_high"]).astype(np.uint8)


def convolved(x, weight, bias, stride, pads, groups=1):
    top, left, bottom, right = pads
    centred = F.pad(torch.from_numpy(x).long() - ZEROS["x_zero"], (left, right, top, bottom))
    total = F.conv2d(centred.double(), torch.from_numpy(weight).double(), None, stride, groups=groups)
    return total.long() + torch.from_numpy(bias).long()[:, None, None]


@pytest.mark.parametrize(("rows", "channels"), [(12, 8), (7, 5)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2)])
def test_convolution_of_bytes(rows, channels, kernel):
    weight, values, keep = tiles(RANDOM, (rows, channels, *kernel), (4, 4))
    weight, values = ((40 * array).clip(-127, 127).astype(np.int8) for array in (weight, values))
    bias = RANDOM.integers(-999, 999, rows, dtype=np.int32)
    scale = RANDOM.uniform(0.001, 0.01, rows).astype(np.float32)
    window = {"kernel_shape": kernel, "strides": [2, 1], "pads": [1, 0, 1, 1]}
    session = around(
        "QSparseConv",
        "values keep bias scale",
        channels,
        {"values": values, "keep": keep, "bias": bias, "scale": scale},
        ["H", "W"],
        rows=rows,
        inputs=channels,
        block=[4, 4],
        **window,
        **ZEROS,
    )
    for batch, height, width in ((1, 6, 9), (2, 5, 4)):
        x = images(batch, channels, height, width)
        expected = requantized(convolved(x, weight, bias, (2, 1), (1, 0, 1, 1)), scale)
        assert (run(session, x=x) == expected).all()


def test_depthwise_of_bytes():
    weight = RANDOM.integers(-127, 128, (6, 1, 3, 3), dtype=np.int8)
    bias = RANDOM.integers(-999, 999, 6, dtype=np.int32)
    scale = RANDOM.uniform(0.001, 0.02, 6).astype(np.float32)
    weights = {"weight": weight, "bias": bias, "scale": scale}
    session = around("QDepthwise", "weight bias scale", 6, weights, [7, 8], pads=[1, 1, 1, 1], **ZEROS)
    x = images(2, 6, 7, 8)
    expected = requantized(convolved(x, weight, bias, 1, (1, 1, 1, 1), groups=6), scale)
    assert (run(session, x=x) == expected).all()
    assert session.get_outputs()[0].shape == ["N", 6, 7, 8]


def test_max_pool_of_bytes():
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    session = around("QMaxPool", "", 6, {}, [9, 8], channels=6, **window)
    x = images(2, 6, 9, 8)
    expected = F.max_pool2d(torch.from_numpy(x).float(), 3, 2, 1).numpy()
    assert (run(session, x=x) == expected).all()


def test_sum_of_bytes():
    told = {"a_scale": 0.02, "b_scale": 0.03, "y_scale": 0.045, "a_zero": 3, "b_zero": 130, "y_zero": 5}
    session = opened(
        file(node("QAdd", "a b", **told, y_low=5, y_high=255), {"a": ["N", 6], "b": ["N", 6]}, {}, kind="u")
    )
    a, b = images(50, 6), images(50, 6)
    f = {name: np.float32(value) for name, value in told.items()}
    of_a, of_b = f["a_scale"] / f["y_scale"], f["b_scale"] / f["y_scale"]
    shift = f["y_zero"] - (f["a_zero"] * of_a + f["b_zero"] * of_b)
    exact = shift + a.astype(np.float32) * of_a + b.astype(np.float32) * of_b
    assert (run(session, a=a, b=b) == np.clip(np.rint(exact), 5, 255)).all()
    with pytest.raises(Exception, match=r"its a is \[2, 6\] and its b \[1, 6\]; they have to have one shape"):
        run(session, a=a[:2], b=b[:1])


def test_integers_that_do_not_fit_are_refused():
    x = images(1, 2, 3, 3, 4)
    session = opened(file(node("Unpack4", "x", channels=9), {"x": None}, {}, kind="u"))
    with pytest.raises(Exception, match=r"\[batch, 3, height, width, 4\] \(9 channels in c4\)"):
        run(session, x=x)
    with pytest.raises(Exception, match=r"its x is \[1, 2, 3, 3, 4\] and has to be \[batch, channels, height, width\]"):
        run(opened(file(node("Pack4", "x"), {"x": None}, {}, kind="u")), x=x)
    made = node("QDepthwise", "x weight", **ZEROS)
    with pytest.raises(Exception, match="its input 'scale' is missing"):
        opened(file(made, {"x": None}, {"weight": np.ones((4, 1, 3, 3), np.int8)}, kind="u"))
    made = node("QDepthwise", "x weight - scale", **(ZEROS | {"x_zero": 256}))
    weights = {"weight": np.ones((4, 1, 3, 3), np.int8), "scale": np.ones(4, np.float32)}
    with pytest.raises(Exception, match=r"its attribute x_zero=256 has to lie in \[0, 255\]"):
        opened(file(made, {"x": None}, weights, kind="u"))
