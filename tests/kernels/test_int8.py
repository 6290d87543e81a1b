"""The integer kernels, bit for bit: against integers in numpy on every path of this machine, through the C interface
and between forbidden pages, and against ONNX Runtime's own operations."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from abi_paths import Worker, available_paths
from flyweight.kernels.library import available
from int8_cases import (
    SIZES,
    a_block,
    added,
    all_tiles,
    convolved,
    each_convolved,
    from_fours,
    in_fours,
    largest,
    qblocks,
    qconvs,
    qdepthwises,
    qmaxpools,
    tiles,
)

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")

RUNS = ((1, True), (2, False), (-3, True))
"""Threads of the library's own (below zero: of a pool of the caller's), and whether arrays end at a forbidden page."""

quick = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def paths():
    workers = available_paths()
    for path in [path for path in workers if path != "portable"]:
        workers[f"{path} without VNNI"] = Worker(path, FLYWEIGHT_VNNI="0")
    yield workers
    for worker in workers.values():
        worker.close()


def agrees(paths, kind, told, x, wanted, other=None, channels=None):
    for path, worker in paths.items():
        outputs = worker(kind, told, x, other, RUNS)
        assert not isinstance(outputs, str), f"{path}: {outputs}"
        for output in outputs:
            got = output if channels is None else from_fours(output, channels)
            assert np.array_equal(got, wanted), f"{path}: {np.count_nonzero(got != wanted)} of {wanted.size} differ"


@quick
@given(qconvs())
def test_convolution(paths, case):
    told, x, wanted = case
    agrees(paths, "qconv", told, x, wanted, channels=told["weight"]["rows"])


@quick
@given(qdepthwises())
def test_depthwise(paths, case):
    told, x, wanted = case
    agrees(paths, "qdepthwise", told, x, wanted, channels=told["channels"])


@few
@given(qmaxpools())
def test_max_pool(paths, case):
    told, x, wanted = case
    agrees(paths, "qmaxpool", told, x, wanted, channels=told["channels"])


@few
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_to_fours_and_back(paths, batch, channels, plane, seed):
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (batch, channels, 1, plane), dtype=np.uint8)
    fours = in_fours(image, random)
    sizes = (batch, channels, plane)
    for path, worker in paths.items():
        for output in worker("pack4", {"sizes": sizes, "shape": fours.shape}, image, None, RUNS):
            assert np.array_equal(from_fours(output, channels), image), path
    agrees(paths, "unpack4", {"sizes": sizes, "shape": image.shape}, fours, image)


@pytest.mark.parametrize("window", [[3, 3, 1, 1], [3, 3, 2, 2], [5, 4, 1, 2], [1, 1, 1, 1]])
def test_planes_beyond_the_nearest_cache(paths, window):
    """They are taken in bands of rows."""
    random = np.random.default_rng(5)
    window = [*window, 1, 1, window[0] // 2, 1, 2, window[1] // 2]
    image = random.integers(0, 256, (2, 6, 121, 133), dtype=np.uint8)
    weight = random.integers(-128, 128, (6, *window[:2]), dtype=np.int8)
    told = {"channels": 6, "window": window, "weight": weight, "bias": None, "scale": np.full(6, 0.004, np.float32)}
    told |= {"x_zero": 99, "y_zero": 128, "y_low": 1, "y_high": 250}
    x = in_fours(image, random)
    agrees(paths, "qdepthwise", told, x, each_convolved(image, weight, told), channels=6)
    agrees(paths, "qmaxpool", told, x, largest(image, window), channels=6)


@few
@given(st.integers(1, 2), st.integers(1, 9), st.integers(1, 90), st.floats(2**-20, 2**10, width=32), st.data())
def test_floats_to_fours(paths, batch, channels, plane, scale, data):
    """Among them those that lie half-way between two integers, or all but so."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    zero = data.draw(st.integers(0, 255))
    steps = random.integers(-600, 600, (batch, channels, 1, plane)) / np.float32(2)
    x = (steps.astype(np.float32) * np.float32(scale)).astype(np.float32)
    beside = np.nextafter(x, random.choice([-np.inf, np.inf], x.shape).astype(np.float32))
    x = np.where(random.random(x.shape) < 0.6, beside, x)
    x[random.random(x.shape) < 0.05] = random.choice([np.inf, -np.inf, 0, -0.0, 3e38])
    with np.errstate(over="ignore"):
        wanted = np.rint(np.clip(x / np.float32(scale), -zero, 255 - zero)).astype(np.int64) + zero
    sizes = (batch, channels, plane)
    told = {"sizes": sizes, "shape": (batch, -(-channels // 4), 1, plane, 4), "scale": scale, "zero": zero}
    agrees(paths, "quantize4", told, x, wanted, channels=channels)


scales = st.integers(1, 200).map(lambda parts: parts / 1024)
byte = st.integers(0, 255)


@few
@given(
    st.integers(1, 3),
    SIZES,
    st.integers(1, 60),
    st.integers(1, 5),
    scales,
    scales,
    byte,
    byte,
    st.integers(0, 2**32 - 1),
)
def test_mean(paths, batch, channels, height, width, x_scale, y_scale, x_zero, y_zero, seed):
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (batch, channels, height, width), dtype=np.uint8)
    told = {"channels": channels, "x_scale": x_scale, "y_scale": y_scale, "x_zero": x_zero, "y_zero": y_zero}
    sums = image.astype(np.int64).sum((2, 3), keepdims=True) - x_zero * height * width
    means = sums.astype(np.float32) * (np.float32(x_scale) / (np.float32(y_scale) * np.float32(height * width)))
    wanted = (np.rint(np.clip(means, -y_zero, 255 - y_zero)) + y_zero).astype(np.uint8)
    agrees(paths, "qmean", told, in_fours(image, random), wanted, channels=channels)


def test_mean_equals_onnx_runtime(paths):
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (1, 10, 7, 9), dtype=np.uint8)
    told = {"channels": 10, "x_scale": 0.031, "y_scale": 0.0047, "x_zero": 117, "y_zero": 121}
    constants = {"x_scale": np.float32(0.031), "x_zero": np.uint8(117)}
    constants |= {"y_scale": np.float32(0.0047), "y_zero": np.uint8(121)}
    made = helper.make_node("QLinearGlobalAveragePool", ["x", *constants], ["y"], domain="com.microsoft")
    wanted = a_session(made, TensorProto.UINT8, image.shape, constants).run(None, {"x": image})[0]
    agrees(paths, "qmean", told, in_fours(image, random), wanted, channels=10)
    for path, worker in paths.items():
        x = in_fours(image, random)
        assert "the scales are 0.031 and 0." in worker("qmean", told | {"y_scale": 0.0}, x, None, RUNS), path
        assert "got 0 channels. Give 1 to 2^30." in worker("qmean", told | {"channels": 0}, x, None, RUNS), path


@few
@given(st.integers(1, 40_000), scales, scales, scales, st.tuples(byte, byte, byte), st.integers(0, 2**32 - 1))
def test_sum(paths, count, a_scale, b_scale, y_scale, zeros, seed):
    a, b = np.random.default_rng(seed).integers(0, 256, (2, count), dtype=np.uint8)
    for bounds in ((3, 250), (0, 255)):
        spec = (a_scale, b_scale, y_scale, *zeros, *bounds)
        agrees(paths, "qadd", {"spec": spec, "shape": a.shape}, a, added(a, b, spec), other=b)


@quick
@given(qconvs(), st.data())
def test_convolution_with_a_sum(paths, case, data):
    """Another image is added to what it rounded, as a QAdd of its own would."""
    told, x, wanted = case
    numbers = (*(data.draw(scales) for _ in range(3)), *(data.draw(byte) for _ in range(3)))
    spec = (*numbers, *data.draw(st.sampled_from([(0, 255), (3, 250)])))
    random = np.random.default_rng(7)
    other = random.integers(0, 256, wanted.shape, dtype=np.uint8)
    second = data.draw(st.integers(0, 1))
    sums = added(other, wanted, spec) if second else added(wanted, other, spec)
    told = {**told, "sum": spec, "sum_second": second}
    agrees(paths, "qconv", told, x, sums, in_fours(other, random), told["weight"]["rows"])


def test_a_residual_goes_with_a_sum(paths):
    x = np.zeros((1, 1, 2, 2, 4), np.uint8)
    spec = (0.1, 0.2, 0.3, 1, 2, 3, 0, 255)
    for path, worker in paths.items():
        assert "made with a sum, and got no residual" in worker("qconv", a_layer(sum=spec), x, None, RUNS), path
        assert "made without a sum, and got a residual" in worker("qconv", a_layer(), x, x, RUNS), path
        refused = worker("qconv", a_layer(sum=(0.1, 0.2, 0.0, *spec[3:])), x, x, RUNS)
        assert "over 0 are no finite numbers below 1e30" in refused, path


@quick
@given(qblocks())
def test_block(paths, case):
    """Three layers as one."""
    told, x, other, wanted = case
    agrees(paths, "qblock", told, x, wanted, other, channels=told["rows"])


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_that_are_cut_for_threads(paths, stride):
    told, x, other, wanted = a_block(
        np.random.default_rng(stride), [3, 3, stride, stride, *[1] * 6], (9, 30, 8), (57, 60)
    )
    agrees(paths, "qblock", told, x, wanted, other, channels=8)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({0: ("qdepthwise", None)}, "expand is a quantized depthwise layer. Give a quantized convolution."),
        ({1: ("qdepthwise", "NULL")}, "depthwise is NULL. Give a quantized depthwise layer."),
        ({2: ("qconv", "wide")}, "project has a window. Give a 1x1 convolution without one."),
        ({0: ("qconv", "few")}, "expand has 4 rows and depthwise 30 channels. Give as many."),
        ({2: ("qconv", "few")}, "project has 4 inputs and depthwise 30 channels. Give as many."),
    ],
)
def test_layers_that_are_no_block(paths, changes, says):
    told, x, _, _ = a_block(np.random.default_rng(0), [3, 3, *[1] * 8], (9, 30, 8), (5, 5), sums=False)
    weight = np.ones((4, 4, 3, 3), np.int8)
    wide = a_layer(weight=tiles(weight), window=[3, 3, *[1] * 8])
    others = {None: told["parts"][1][1], "NULL": None, "wide": wide, "few": a_layer()}
    for place, (kind, name) in changes.items():
        told["parts"][place] = (kind, others[name])
    for path, worker in paths.items():
        assert says in worker("qblock", told, x, None, RUNS), path


def a_layer(**changes):
    """A small convolution that is as it should be, but for ``changes``."""
    weight = np.arange(1, 17, dtype=np.int8).reshape(4, 4, 1, 1)
    told = {"weight": tiles(weight), "window": [1, 1, 1, 1, 1, 1, 0, 0, 0, 0], "bias": None}
    told |= {"scale": np.full(4, 0.01, np.float32), "x_zero": 0, "y_zero": 0, "y_low": 0, "y_high": 255}
    return told | changes


def without(told, **changes):
    return {**told, "weight": {**told["weight"], **changes}}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (without(a_layer(), block_rows=4, block_columns=1), "weight has blocks of 4x1. Give 4x4."),
        (without(a_layer(), keep_bytes=2), "weight.keep has 2 bytes, but 1 tiles need 1."),
        (without(a_layer(), keep=np.array([0xFF], np.uint8)), "weight.keep has bits set after its 1 tiles."),
        (
            without(a_layer(), keep=np.array([0], np.uint8)),
            "weight has 16 values, but its 0 kept blocks of",
        ),
        (without(a_layer(), taps=9), "weight has 9 taps, but the window is 1 x 1."),
        (without(a_layer(), rows=2**40), "weight has rows=1099511627776"),
        (a_layer(scale=None), "scale is NULL. Give 4 numbers"),
        (a_layer(scale=np.array([1, np.nan, 1, 1], np.float32)), "scale[1] is nan. Give a finite number."),
        (a_layer(y_low=9, y_high=8), "y_low is 9 and y_high is 8."),
        (a_layer(window=[1, 1, 0, 1, 1, 1, 0, 0, 0, 0]), "window.stride_h is 0. Give 1 to "),
        (a_layer(window=[1, 1, 1, 1, 1, 1, 0, -1, 0, 0]), "window.pad_left is -1. Give 0 to "),
    ],
)
def test_what_is_wrong_is_refused(paths, told, says):
    x = np.zeros((1, 1, 2, 2, 4), np.uint8)
    for worker in paths.values():
        assert says in worker("qconv", told, x, None, RUNS[:1])


def test_an_image_too_small_is_refused(paths):
    told = a_layer(weight=tiles(np.ones((4, 4, 3, 3), np.int8)), window=[3, 3, 1, 1, 1, 1, 0, 0, 0, 0])
    for worker in paths.values():
        refusal = worker("qconv", told, np.zeros((1, 1, 2, 5, 4), np.uint8), None, RUNS[:1])
        assert "an image of 2 x 5" in refusal
        assert "the kernel's span of 3 x 3. Give a larger image or more padding." in refusal


def test_channels_beyond_the_last_count_nowhere(paths):
    weight = np.ones((2, 3, 1, 1), np.int8)
    told = a_layer(weight=all_tiles(weight), scale=np.ones(2, np.float32))
    told["weight"]["values"] = np.full(16, 100, np.int8)  # where a tile reaches over the edge there should be zeros
    x = np.full((1, 1, 1, 2, 4), 200, np.uint8)
    x[..., :3] = [[[1], [0]]]
    for path, worker in paths.items():
        assert from_fours(worker("qconv", told, x, None, RUNS[:1])[0], 2).tolist() == [[[[255, 0]]] * 2], path


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(3, (7, 7, 2, 2)), (3, (3, 3, 2, 2)), (3, (5, 3, 1, 1)), (2, (3, 5, 2, 1)), (1, (5, 5, 1, 2)), (1, (9, 1, 4, 1))],
)
def test_few_channels_fill_their_lanes(paths, channels, kernel, dense):
    random = np.random.default_rng(sum(kernel))
    window = [*kernel, 1, 1, kernel[0] // 2, 1, 2, kernel[1] // 2]
    weight = random.integers(-127, 128, (10, channels, *kernel[:2]), dtype=np.int8)
    if not dense:
        weight *= (random.random((3, 1, *kernel[:2])) < 0.4).repeat(4, 0)[:10].astype(np.int8)
    told = {"window": window, "bias": None, "scale": np.full(10, 0.01, np.float32)}
    told |= {"x_zero": 117, "y_zero": 121, "y_low": 3, "y_high": 250}
    told["weight"] = (all_tiles if dense else tiles)(weight)
    for height, width in ((9, 7), (41, 150)):
        image = random.integers(0, 256, (2, channels, height, width), dtype=np.uint8)
        agrees(paths, "qconv", told, in_fours(image, random), convolved(image, weight, told), channels=10)


def linear_conv(weight, told, sizes, group):
    """ONNX Runtime's own QLinearConv of the same numbers."""
    window, rows = told["window"], len(weight)
    constants = {
        "x_scale": np.float32(1),
        "x_zero": np.uint8(told["x_zero"]),
        "w": weight,
        "w_scale": told["scale"],
        "w_zero": np.zeros(rows, np.int8),
        "y_scale": np.float32(1),
        "y_zero": np.uint8(told["y_zero"]),
    }
    if told["bias"] is not None:
        constants["bias"] = told["bias"]
    node = helper.make_node(
        "QLinearConv",
        ["x", *constants],
        ["y"],
        kernel_shape=window[:2],
        strides=window[2:4],
        dilations=window[4:6],
        pads=window[6:],
        group=group,
    )
    return a_session(node, TensorProto.UINT8, sizes, constants)


def a_session(node, kind, sizes, constants):
    """ONNX Runtime's own ``node``, of an input ``x`` and constants to bytes."""
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kind, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=9
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("kernel", [(1, 1, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3)])
def test_equals_onnx_runtime(paths, kernel, dense):
    side, stride, border = kernel
    random = np.random.default_rng(side + stride)
    weight = random.integers(-127, 128, (18, 7, side, side), dtype=np.int8)
    if not dense:
        weight *= (random.random((5, 2, side, side)) < 0.3).repeat(4, 0).repeat(4, 1)[:18, :7].astype(np.int8)
    image = random.integers(0, 256, (1, 7, 23, 21), dtype=np.uint8)
    told = {"window": [side, side, stride, stride, 1, 1, *[border] * 4], "x_zero": 117, "y_zero": 121}
    told |= {"bias": random.integers(-999, 999, 18).astype(np.int32), "y_low": 0, "y_high": 255}
    told["scale"] = (random.uniform(0.5, 2, 18) / (74 * np.sqrt(7 * side * side))).astype(np.float32)
    wanted = linear_conv(weight, told, image.shape, 1).run(None, {"x": image})[0]
    told["weight"] = (all_tiles if dense else tiles)(weight)
    agrees(paths, "qconv", told, in_fours(image, random), wanted, channels=18)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_equals_onnx_runtime(paths, stride):
    random = np.random.default_rng(stride)
    weight = random.integers(-127, 128, (10, 1, 3, 3), dtype=np.int8)
    image = random.integers(0, 256, (1, 10, 19, 18), dtype=np.uint8)
    told = {"window": [3, 3, stride, stride, *[1] * 6], "x_zero": 0, "y_zero": 0, "y_low": 0, "y_high": 255}
    told |= {"bias": None, "channels": 10, "scale": (random.uniform(0.5, 2, 10) / 300).astype(np.float32)}
    wanted = linear_conv(weight, told, image.shape, 10).run(None, {"x": image})[0]
    told["weight"] = weight
    agrees(paths, "qdepthwise", told, in_fours(image, random), wanted, channels=10)


def test_floats_to_fours_equals_onnx_runtime(paths):
    random = np.random.default_rng(0)
    x = (random.standard_normal((1, 3, 1, 20_000)) * 3).astype(np.float32)
    x[0, 0, 0, :600] = (np.arange(600) - 300) * np.float32(0.5) * np.float32(0.0173)
    constants = {"scale": np.float32(0.0173), "zero": np.uint8(117)}
    made = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    wanted = a_session(made, TensorProto.FLOAT, x.shape, constants).run(None, {"x": x})[0]
    told = {"sizes": (1, 3, 20_000), "shape": (1, 1, 1, 20_000, 4), "scale": 0.0173, "zero": 117}
    agrees(paths, "quantize4", told, x, wanted, channels=3)
    for path, worker in paths.items():
        refused = worker("quantize4", told | {"scale": np.nan}, x, None, RUNS)
        assert "scale is nan. Give a finite number above 0." in refused, path
