"""Operations in one node compute what they compute one by one, on any threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import helper

from flyweight.deploy.export.sparse.join import joined
from flyweight.kernels import library
from flyweight.measure.own_parts import with_parts
from ort_files import file, node, opened, run, tiles

pytestmark = pytest.mark.skipif(not library.available(), reason=f"no native kernels: {library.why_not()}")

RANDOM = np.random.default_rng(3)
ZEROS = {"x_zero": 3, "y_zero": 9, "y_low": 0, "y_high": 255}
SUM = {"a_scale": 0.5, "b_scale": 0.25, "a_zero": 7, "b_zero": 9}
OF_QADD = {"y_scale": 0.5, "y_zero": 4, "y_low": 2, "y_high": 250}
OF_CONV = {"sum_scale": 0.5, "sum_zero": 4, "sum_low": 2, "sum_high": 250}


def images(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def layers(fused):
    """Packed, and through a residual block of 13 channels; the sum in a convolution or by itself."""
    weights = {}
    for name, shape in (("a", (13, 5, 3, 3)), ("b", (13, 13, 1, 1))):
        _, values, keep = tiles(RANDOM, shape, (4, 4))
        weights |= {f"{name}v": (40 * values).clip(-127, 127).astype(np.int8), f"{name}k": keep}
        weights[f"{name}s"] = RANDOM.uniform(0.002, 0.02, 13).astype(np.float32)
    weights["d"] = RANDOM.integers(-127, 128, (13, 1, 3, 3), dtype=np.int8)
    sizes = {"rows": 13, "block": [4, 4], **ZEROS}
    last = ("b2", "bv bk - bs")
    nodes = [
        node("Pack4", "x", "p"),
        node("QSparseConv", "p av ak - as", "a1", inputs=5, kernel_shape=[3, 3], pads=[1, 1, 1, 1], **sizes),
        node("QDepthwise", "a1 d - as", "b1", pads=[1, 1, 1, 1], **ZEROS),
        node("QMaxPool", "b1", "b2", channels=13, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    if fused:
        told = {**sizes, **SUM, **OF_CONV, "sum_second": 1}
        nodes.append(node("QSparseConv", f"{last[0]} {last[1]} a1", "c", inputs=13, **told))
    else:
        nodes.append(node("QSparseConv", f"{last[0]} {last[1]}", "b3", inputs=13, **sizes))
        nodes.append(node("QAdd", "a1 b3", "c", **SUM, **OF_QADD))
    return [*nodes, node("Unpack4", "c", channels=13)], weights


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("fused", [False, True])
def test_as_one_by_one(fused, threads):
    nodes, weights = layers(fused)
    shape = {"x": ["N", 5, "H", "W"]}
    made = joined(nodes, {"y"})
    assert [n.op_type for n in made] == ["QNetwork"]
    apart, whole = (opened(file(n, shape, weights, kind="u"), threads) for n in (nodes, made))
    for size in ((1, 5, 33, 30), (2, 5, 7, 9), (1, 5, 64, 60), (0, 5, 8, 8)):
        x = images(*size)
        expected = run(apart, x=x)
        for _ in range(3):
            assert np.array_equal(run(whole, x=x), expected)


def float_layers():
    """An inverted residual block and a convolution; a layer of a transformer: the nodes, their weights, an input."""

    def sparse(name, *shape):
        _, weights[f"{name}v"], weights[f"{name}k"] = tiles(RANDOM, shape, (4, 1))
        weights[f"{name}b"] = RANDOM.standard_normal(shape[0]).astype(np.float32)

    weights = {"d": RANDOM.standard_normal((40, 1, 3, 3)).astype(np.float32), "g": np.ones(24, np.float32)}
    for name, *shape in (("e", 40, 12), ("p", 12, 40), ("c", 9, 12, 3, 3)):
        sparse(name, *shape)
    blocks = {"expand_block": [4, 1], "project_block": [4, 1], "activation": "Relu6"}
    sizes = {"expand_rows": 40, "inputs": 12, "rows": 12, "residual": 1, "pads": [1, 1, 1, 1]}
    images = [
        node("SparseBlock", "x ev ek eb d - pv pk pb", "s", **sizes, **blocks),
        node("Depthwise", "s w", "t", pads=[1, 1, 1, 1]),
        node("SparseConv", "t cv ck cb", rows=9, inputs=12, block=[4, 1], kernel_shape=[3, 3], activation="Relu"),
    ]
    weights["w"] = RANDOM.standard_normal((12, 1, 3, 3)).astype(np.float32)
    for name in "qkvo":
        sparse(name, 24, 24)
    linear = {"rows": 24, "inputs": 24, "block": [4, 1]}
    tokens = [
        node("LayerNorm", "x g", "n"),
        *(node("SparseLinear", f"n {i}v {i}k {i}b", i, **linear) for i in "qkv"),
        node("Attention", "q k v", "a", heads=3, size=8),
        node("SparseLinear", "a ov ok ob n", **linear, activation="Gelu"),
    ]
    sizes = ((1, 12, 14, 14), (3, 12, 9, 20), (2, 12, 7, 7), (1, 12, 60, 56), (0, 12, 7, 7))
    return (images, weights, sizes), (tokens, weights, ((1, 16, 24), (2, 33, 24), (1, 128, 24)))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("place", [0, 1])
def test_floats_as_one_by_one(place, threads):
    nodes, weights, sizes = float_layers()[place]
    made = joined(nodes, {"y"})
    assert [n.op_type for n in made] == ["Network"]
    apart, whole = (opened(file(n, {"x": None}, weights), threads) for n in (nodes, made))
    for size in sizes:
        x = RANDOM.standard_normal(size).astype(np.float32)
        expected = run(apart, x=x)
        for _ in range(3):
            assert np.array_equal(run(whole, x=x), expected)


def chain():
    """Blocks one after another, with and without a residual, at strides of one and two; the first expands nothing."""
    weights, nodes = {}, []
    sizes = ((8, 24, 8, 1), (8, 40, 12, 2), (12, 72, 12, 1), (12, 72, 12, 1), (12, 70, 20, 2), (20, 120, 20, 1))
    for place, (inputs, between, rows, stride) in enumerate(sizes):
        for name, shape in (("e", (between, inputs)), ("p", (rows, between))):
            _, weights[f"{name}v{place}"], weights[f"{name}k{place}"] = tiles(RANDOM, shape, (4, 1))
        weights[f"d{place}"] = RANDOM.standard_normal((between, 1, 3, 3)).astype(np.float32) / 9
        weights[f"b{place}"] = RANDOM.standard_normal(between).astype(np.float32)
        expand = "-" if place == 0 else f"ev{place}"
        names = [f"t{place}", expand, expand.replace("v", "k"), "-", f"d{place}", f"b{place}"]
        told = {"inputs": inputs, "rows": rows, "residual": int(stride == 1 and place > 0), "strides": [stride, stride]}
        if place == 0:  # the depthwise convolution reads x
            weights[f"d{place}"], weights[f"b{place}"] = weights[f"d{place}"][:inputs], weights[f"b{place}"][:inputs]
            _, weights["pv0"], weights["pk0"] = tiles(RANDOM, (rows, inputs), (4, 1))
        else:
            told |= {"expand_rows": between, "expand_block": [4, 1], "expand_activation": "Relu6"}
        told |= {"project_block": [4, 1], "activation": "Relu6", "pads": [1, 1, 1, 1]}
        names += [f"pv{place}", f"pk{place}"]
        out = "y" if place + 1 == len(sizes) else f"t{place + 1}"
        nodes.append(node("SparseBlock", " ".join(names), out, **told))
    return nodes, weights


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_blocks_that_hand_images_on_in_parts(threads):
    nodes, weights = chain()
    (made,) = joined(nodes, {"y"})
    apart = opened(file(nodes, {"t0": None}, weights))
    whole = opened(file(made, {"t0": None}, weights), threads)
    for size in ((1, 8, 56, 56), (1, 8, 29, 31), (2, 8, 28, 28), (3, 8, 40, 17), (1, 8, 112, 90), (4, 8, 64, 64)):
        x = RANDOM.standard_normal(size).astype(np.float32)
        expected = run(apart, t0=x)
        for _ in range(2):
            assert np.array_equal(run(whole, t0=x), expected)


def test_a_network_gives_what_its_name_says():
    nodes, weights, _ = float_layers()[0]
    (made,) = joined(nodes, {"y"})
    made.op_type = "QNetwork"
    with pytest.raises(Exception, match="its last part, SparseConv, gives numbers of another type"):
        opened(file(made, {"x": None}, weights, out="u"))


def test_the_sum_within_a_convolution_is_that_of_its_own_operation():
    (apart, weights), random = layers(False), RANDOM.bit_generator.state
    fused = [*apart[:4], *layers(True)[0][4:]]
    RANDOM.bit_generator.state = random
    x, shape = images(2, 5, 20, 31), {"x": None}
    results = [run(opened(file(nodes, shape, weights, kind="u")), x=x) for nodes in (apart, fused)]
    assert np.array_equal(*results)
    assert results[0].std() > 9


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("summed", [False, True])
def test_an_inverted_residual_block(summed, threads):
    """What runs as one layer gives what its three give, also where one of them is read besides."""
    weights = {"d": RANDOM.integers(-127, 128, (24, 1, 3, 3), dtype=np.int8)}
    for name, shape in (("e", (24, 6, 1, 1)), ("p", (6, 24, 1, 1))):
        _, values, keep = tiles(RANDOM, shape, (4, 4))
        weights |= {f"{name}v": (40 * values).clip(-127, 127).astype(np.int8), f"{name}k": keep}
        weights[f"{name}s"] = RANDOM.uniform(0.002, 0.02, shape[0]).astype(np.float32)
    told = {**SUM, **OF_CONV, "sum_second": 0} if summed else {}
    nodes = [
        node("Pack4", "x", "f"),
        node("QSparseConv", "f ev ek - es", "a", rows=24, inputs=6, block=[4, 4], **ZEROS),
        node("QDepthwise", "a d - es", "b", pads=[1, 1, 1, 1], **ZEROS),
        node(
            "QSparseConv",
            "b pv pk - ps f" if summed else "b pv pk - ps",
            "c",
            rows=6,
            inputs=24,
            block=[4, 4],
            **told,
            **ZEROS,
        ),
        node("QDepthwise", "c d6 - ps", "g", **ZEROS),
        node("QSparseConv", "g qv qk - ps", "h", rows=6, inputs=6, block=[4, 4], **ZEROS),
        node("QMaxPool", "h", "i", channels=6, kernel_shape=[3, 3]),
        node("Unpack4", "i", channels=6),
    ]
    _, values, keep = tiles(RANDOM, (6, 6, 1, 1), (4, 4))
    weights |= {"qv": (40 * values).clip(-127, 127).astype(np.int8), "qk": keep, "d6": weights["d"][:6]}
    shape = {"x": ["N", 6, "H", "W"]}
    apart, whole = (opened(file(n, shape, weights, kind="u"), threads) for n in (nodes, joined(nodes, {"y"})))
    for size in ((1, 6, 40, 44), (5, 6, 9, 13)):
        x = images(*size)
        expected = run(apart, x=x)
        assert expected.std() > 1
        for _ in range(2):
            assert np.array_equal(run(whole, x=x), expected)


def test_calls_at_the_same_time():
    nodes, weights = layers(True)
    session = opened(file(joined(nodes, {"y"}), {"x": None}, weights, kind="u"), 2)
    inputs = [images(1, 5, size, 40) for size in range(9, 49)]
    expected = [run(session, x=x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert all(map(np.array_equal, pool.map(lambda x: run(session, x=x), inputs), expected))


def test_written_out_again_it_is_what_it_was():
    nodes, weights = layers(True)
    whole = onnx.ModelProto.FromString(file(joined(nodes, {"y"}), {"x": None}, weights, kind="u"))
    parts = with_parts(whole).graph.node
    assert [part.op_type for part in parts] == [n.op_type for n in nodes]
    for part, n in zip(parts, nodes, strict=True):
        assert {a.name: a for a in part.attribute} == {a.name: a for a in n.attribute}
    assert parts[-1].output == ["y"]
    assert [list(part.input).count("") for part in parts] == [list(n.input).count("") for n in nodes]


def test_what_others_read_stays_apart():
    nodes, _ = layers(False)
    other = helper.make_node("Cast", ["a1"], ["z"], to=1)
    assert [n.op_type for n in joined([*nodes, other], {"y", "z"})] == [n.op_type for n in [*nodes, other]]
    between = [nodes[0], helper.make_node("Identity", ["p"], ["q"]), *nodes[1:]]
    between[2].input[0] = "q"
    assert [n.op_type for n in joined(between, {"y"})] == ["Pack4", "Identity", "QNetwork"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parts": 0}, r"its attribute parts=0 has to lie in \[1, 65536\]"),
        ({"1.operation": "Conv"}, "it is made of an operation 'Conv', which no network is"),
        ({"1.reads": [-3, 0, 1]}, r"1.reads=\[-3, 0, 1\] has to lie in \[-2, "),
        ({"1.reads": [-2]}, "it needs the attribute '1.reads', 3 integers, and has 1"),
        ({"1.rows": -1}, "QSparseConv 1: its attribute 1.rows=-1 has to lie in"),
        ({"1.reads": [-2, 0, 2, -1, 3]}, "QSparseConv 1: its input 'values' is computed"),
        ({"1.reads": [-2, 99, 2, -1, 3]}, "QSparseConv 1: its input 'values' is missing"),
    ],
)
def test_refusals(change, says):
    nodes, weights = layers(False)
    (made,) = joined(nodes, {"y"})
    kept = [a for a in made.attribute if a.name not in change]
    del made.attribute[:]
    made.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in change.items())])
    with pytest.raises(Exception, match=says):
        opened(file(made, {"x": None}, weights, kind="u"))


def test_refusals_of_a_call():
    nodes, weights = layers(False)
    session = opened(file(joined(nodes, {"y"}), {"x": None}, weights, kind="u"))
    with pytest.raises(Exception, match=r"QSparseConv 1: its x is \[1, 1, 8, 8, 4\] and has to be \[batch, 2, "):
        run(session, x=images(1, 4, 8, 8))
    with pytest.raises(Exception, match=r"Pack4 0: its x is \[3, 4\]"):
        run(session, x=images(3, 4))
    assert run(session, x=images(1, 5, 8, 8)).shape == (1, 13, 8, 8)
    session = opened(file(joined(nodes, {"y"}), {"x": None}, weights, kind="f", out="u"))
    with pytest.raises(Exception, match="Pack4 0: its x is of another type than it takes"):
        run(session, x=images(1, 5, 8, 8).astype(np.float32))
