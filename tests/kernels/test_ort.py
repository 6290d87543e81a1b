"""The operations that the library gives to ONNX Runtime, against torch in float64 and integers in numpy."""

import re
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

import ort_files
from flyweight.kernels import library
from flyweight.kernels.reference.activation import activate
from ort_files import file, node, opened, run, tiles

pytestmark = pytest.mark.skipif(not library.available(), reason=f"no native kernels: {library.why_not()}")

RANDOM = np.random.default_rng(0)


def draw(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def wide(array):
    return torch.from_numpy(array).double()


def assert_close(found, expected):
    expected = expected.numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= 1e-5 * np.abs(expected).max(initial=1)


CONVS = {
    "point": ((20, 9, 1, 1), (4, 1), {}, {}),
    "every tile": ((8, 5, 1, 1), (2, 1), {}, {"kept": 1}),
    "window": ((13, 6, 3, 2), (8, 1), {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 2, 3]}, {}),
    "single weights": ((7, 4, 3, 3), (1, 1), {"pads": [1, 1, 1, 1]}, {}),
    "tall tiles": ((33, 3, 1, 1), (16, 1), {"strides": [3, 2]}, {}),
}


@pytest.mark.parametrize("activation", ["", "Relu", "Relu6", "HardSwish", "Gelu"])
@pytest.mark.parametrize("name", CONVS)
def test_sparse_conv_on_any_batch_and_size(name, activation):
    shape, block, window, settings = CONVS[name]
    weight, values, keep = tiles(RANDOM, shape, block, **settings)
    bias = draw(shape[0])
    made = node(
        "SparseConv",
        "x values keep bias",
        rows=shape[0],
        inputs=shape[1],
        block=block,
        kernel_shape=shape[2:],
        activation=activation,
        **window,
    )
    weights = {"values": values, "keep": keep, "bias": bias}
    session = opened(file(made, {"x": ["N", shape[1], "H", "W"]}, weights))
    pads = window.get("pads", [0, 0, 0, 0])
    for batch, height, width in ((1, 7, 9), (3, 7, 9), (2, 12, 6)):
        x = draw(batch, shape[1], height, width)
        expected = F.conv2d(
            F.pad(wide(x), (pads[1], pads[3], pads[0], pads[2])),
            wide(weight),
            wide(bias),
            window.get("strides", 1),
            0,
            window.get("dilations", 1),
        )
        assert_close(run(session, x=x), activate(expected, activation))


def test_a_residual_without_a_bias():
    weight, values, keep = tiles(RANDOM, (12, 5, 1, 1), (4, 1))
    made = node("SparseConv", "x values keep - residual", rows=12, inputs=5, block=[4, 1], activation="Relu")
    inputs = {"x": ["N", 5, 4, 3], "residual": ["N", 12, 4, 3]}
    session = opened(file(made, inputs, {"values": values, "keep": keep}))
    x, residual = draw(2, 5, 4, 3), draw(2, 12, 4, 3)
    assert_close(run(session, x=x, residual=residual), F.relu(F.conv2d(wide(x), wide(weight)) + wide(residual)))


@pytest.mark.parametrize("block", [(1, 1), (4, 1), (16, 1)])
def test_sparse_linear_on_any_number_of_axes(block):
    weight, values, keep = tiles(RANDOM, (37, 21), block)
    bias = draw(37)
    made = node("SparseLinear", "x values keep bias residual", rows=37, inputs=21, block=block, activation="Gelu")
    weights = {"values": values, "keep": keep, "bias": bias}
    for shape in ((5,), (2, 9), (2, 3, 17), ()):
        sizes = [f"D{i}" for i in range(len(shape))]
        session = opened(file(made, {"x": [*sizes, 21], "residual": [*sizes, 37]}, weights))
        x, residual = draw(*shape, 21), draw(*shape, 37)
        expected = F.gelu(F.linear(wide(x), wide(weight), wide(bias)) + wide(residual))
        assert_close(run(session, x=x, residual=residual), expected)


def test_depthwise():
    weight, bias = draw(10, 1, 5, 3), draw(10)
    made = node("Depthwise", "x weight bias", strides=[2, 1], pads=[2, 1, 1, 0], activation="HardSwish")
    session = opened(file(made, {"x": ["N", 10, "H", "W"]}, {"weight": weight, "bias": bias}))
    for size in ((1, 10, 9, 8), (2, 10, 6, 5)):
        x = draw(*size)
        padded = F.pad(wide(x), (1, 0, 2, 1))
        assert_close(run(session, x=x), F.hardswish(F.conv2d(padded, wide(weight), wide(bias), (2, 1), groups=10)))


@pytest.mark.parametrize("expands", [True, False])
def test_sparse_block(expands):
    hidden = 24 if expands else 8
    expand, ev, ek = tiles(RANDOM, (24, 8, 1, 1), (4, 1))
    project, pv, pk = tiles(RANDOM, (8, hidden, 1, 1), (2, 1))
    weight = draw(hidden, 1, 3, 3)
    weights = {"dw": weight, "db": draw(hidden), "pv": pv, "pk": pk, "pb": draw(8)}
    settings = {}
    if expands:
        weights |= {"ev": ev, "ek": ek, "eb": draw(24)}
        settings = {"expand_rows": 24, "expand_block": [4, 1], "expand_activation": "Relu6"}
    made = node(
        "SparseBlock",
        "x ev ek eb dw db pv pk pb" if expands else "x - - - dw db pv pk pb",
        inputs=8,
        rows=8,
        project_block=[2, 1],
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        activation="Relu6",
        residual=1,
        **settings,
    )
    session = opened(file(made, {"x": ["N", 8, "H", "W"]}, weights))
    for size in ((1, 8, 7, 7), (2, 8, 5, 9)):
        x = draw(*size)
        between = wide(x)
        if expands:
            between = F.relu6(F.conv2d(between, wide(expand), wide(weights["eb"])))
        between = F.relu6(F.conv2d(between, wide(weight), wide(weights["db"]), padding=1, groups=hidden))
        assert_close(run(session, x=x), F.conv2d(between, wide(project), wide(weights["pb"])) + wide(x))


@pytest.mark.parametrize("mask", [None, (3, 1, 1, 19), (19,), (2, 7, 19), (3, 2, 1, 19), (3, 2, 7, 19)])
@pytest.mark.parametrize("packed", [False, True])
def test_attention(packed, mask):
    if packed and mask is not None:
        mask = tuple(7 if size == 19 else size for size in mask)
    queries, keys, heads, size = 7, 7 if packed else 19, 2, 11
    q, k, v = (2 * draw(3, tokens, heads * size) for tokens in (queries, keys, keys))
    added = None if mask is None else np.where(RANDOM.random(mask) < 0.3, np.finfo("f").min, draw(*mask)).astype("f")
    feed = {"qkv": np.concatenate([q, k, v], -1)} if packed else {"q": q, "k": k, "v": v}
    feed |= {} if added is None else {"mask": added}
    names = ("qkv - - " if packed else "q k v ") + ("" if added is None else "mask")
    made = node("Attention", names, heads=heads, size=size)
    session = opened(file(made, dict.fromkeys(feed), {}))
    split = [wide(x).unflatten(2, (heads, size)).transpose(1, 2) for x in (q, k, v)]
    stretched = None if added is None else wide(added).expand(3, heads, queries, keys)
    expected = F.scaled_dot_product_attention(*split, attn_mask=stretched)
    assert_close(run(session, **feed), expected.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("size", [1, 7, 16, 384])
@pytest.mark.parametrize("shifts", [False, True])
def test_layer_norm(size, shifts):
    weights = {"gain": draw(size), **({"bias": draw(size)} if shifts else {})}
    made = node("LayerNorm", "x " + " ".join(weights), epsilon=1e-6)
    x = 3 * draw(2, 5, size) + 10
    found = run(opened(file(made, {"x": ["N", "T", size]}, weights)), x=x)
    bias = wide(weights["bias"]) if shifts else None
    assert_close(found, F.layer_norm(wide(x), (size,), wide(weights["gain"]), bias, 1e-6))


def test_shapes_and_names_of_sizes_go_through():
    _, values, keep = tiles(RANDOM, (12, 5, 3, 3), (4, 1))
    shape = {"rows": 12, "inputs": 5, "block": [4, 1], "kernel_shape": [3, 3]}
    weights = {"values": values, "keep": keep}
    for pads, sizes, expected in (
        ([1, 1, 1, 1], ["N", 5, "H", "W"], ["N", 12, "H", "W"]),
        ([0, 1, 0, 1], [2, 5, 8, "W"], [2, 12, 6, "W"]),
        ([1, 1, 1, 1], None, []),
    ):
        made = node("SparseConv", "x values keep", pads=pads, **shape)
        assert opened(file(made, {"x": sizes}, weights)).get_outputs()[0].shape == expected
    made = node("SparseConv", "x values keep", strides=[2, 2], **shape)
    found = opened(file(made, {"x": ["N", 5, "H", 9]}, weights)).get_outputs()[0].shape
    assert (found[0], found[1], found[3]) == ("N", 12, 4)
    assert found[2] not in ("H", "N")


def test_no_images_and_no_tokens_give_none():
    _, values, keep = tiles(RANDOM, (12, 5, 1, 1), (4, 1))
    weights = {"values": values, "keep": keep}
    made = node("SparseConv", "x values keep", rows=12, inputs=5, block=[4, 1])
    assert run(opened(file(made, {"x": ["N", 5, 3, 3]}, weights)), x=draw(0, 5, 3, 3)).shape == (0, 12, 3, 3)
    made = node("SparseLinear", "x values keep", rows=12, inputs=5, block=[4, 1])
    assert run(opened(file(made, {"x": ["N", "T", 5]}, weights)), x=draw(2, 0, 5)).shape == (2, 0, 12)
    made = node("Attention", "q", heads=1, size=4)
    assert run(opened(file(made, {"q": ["N", "T", 12]}, {})), q=draw(0, 3, 12)).shape == (0, 3, 4)


def test_nothing_is_put_between_our_operations(tmp_path):
    nodes, weights = [], {}
    for i, (rows, inputs) in enumerate(((16, 8), (8, 16), (16, 8))):
        _, weights[f"v{i}"], weights[f"k{i}"] = tiles(RANDOM, (rows, inputs, 1, 1), (4, 1))
        made = node("SparseConv", f"t{i} v{i} k{i}", f"t{i + 1}", rows=rows, inputs=inputs, block=[4, 1])
        nodes.append(made)
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    options.register_custom_ops_library(library.kernels_library())
    onnxruntime.InferenceSession(file(nodes, {"x": ["N", 8, 14, 14]}, weights), options)
    assert ort_files.ops(onnx.load(tmp_path / "optimized.onnx")) == ["SparseConv"] * 3


def test_sessions_at_once_from_several_threads():
    weight, values, keep = tiles(RANDOM, (64, 32, 3, 3), (4, 1))
    made = node("SparseConv", "x values keep", rows=64, inputs=32, block=[4, 1], kernel_shape=[3, 3])
    data = file(made, {"x": ["N", 32, "H", "W"]}, {"values": values, "keep": keep})
    sessions = [opened(data, threads) for threads in (1, 2)]
    images = [draw(1, 32, size, size) for size in (9, 14, 14, 20)]
    expected = [F.conv2d(wide(x), wide(weight)) for x in images]
    wrong: list[BaseException] = []

    def work(session, start):
        try:
            for i in range(start, start + 20):
                assert_close(run(session, x=images[i % 4]), expected[i % 4])
        except BaseException as error:
            wrong.append(error)

    workers = [threading.Thread(target=work, args=(sessions[i % 2], i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_one_domain_in_cpp_and_python():
    source = Path(library.__file__).parent / "native" / "ort" / "domain.h"
    if not source.is_file():
        pytest.skip("the sources are not here")
    (words,) = re.findall(r'kDomain = "(.*)";', source.read_text(encoding="utf-8"))
    assert words == library.DOMAIN


def test_without_the_library_onnx_runtime_says_what_to_do():
    made = node("LayerNorm", "x gain")
    data = file(made, {"x": ["N", 3]}, {"gain": draw(3)})
    with pytest.raises(Exception, match=r"options\.register_custom_ops_library\(flyweight\.kernels_library\(\)\)"):
        onnxruntime.InferenceSession(data)
