"""What the operations refuse in ONNX Runtime: at load what no call can mend, at a call what does not fit it."""

import ctypes

import numpy as np
import pytest

from flyweight.kernels import library
from ort_files import file, node, opened, run, tiles

pytestmark = pytest.mark.skipif(not library.available(), reason=f"no native kernels: {library.why_not()}")

RANDOM = np.random.default_rng(0)
_, VALUES, KEEP = tiles(RANDOM, (12, 5, 1, 1), (4, 1))
CONV = {"rows": 12, "inputs": 5, "block": [4, 1], "kernel_shape": [1, 1]}


def draw(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def conv(values=VALUES, keep=KEEP, without="", **changes):
    told = {name: value for name, value in (CONV | changes).items() if name != without}
    weights = {"values": values, "keep": keep, "bias": draw(12)}
    return file(node("SparseConv", "x values keep bias", **told), {"x": None}, weights)


MALFORMED = {
    "too few values": (lambda: conv(values=VALUES[:-1]), "SparseConv of y.*values"),
    "too many values": (lambda: conv(values=np.append(VALUES, VALUES)), "SparseConv of y.*values"),
    "too few bits": (lambda: conv(keep=KEEP[:-1]), "SparseConv of y.*bytes"),
    "a bit after the last tile": (lambda: conv(keep=KEEP | np.array([0, 1], "u1")), "SparseConv of y.*keep"),
    "no rows": (lambda: conv(rows=0), r"'SparseConv of y': its attribute rows=0 has to lie in \[1, 2147483648\]"),
    "rows that overflow": (lambda: conv(rows=2**31, inputs=2**31), "SparseConv of y"),
    "a block that is not": (lambda: conv(block=[3, 1]), "SparseConv of y.*block"),
    "half a block": (lambda: conv(block=[4]), "the attribute 'block', 2 integers, and has 1"),
    "a pad below zero": (lambda: conv(pads=[0, 0, 0, -1]), r"pads=\[0, 0, 0, -1\] has to lie in \[0, "),
    "a stride of none": (lambda: conv(strides=[0, 1]), r"strides=\[0, 1\] has to lie in \[1, "),
    "an unknown activation": (lambda: conv(activation="Tanh"), "activation='Tanh' is none of '', 'Relu'"),
    "an activation by number": (lambda: conv(activation=3), "attribute 'activation' has to be a string"),
    "no inputs": (lambda: conv(without="inputs"), "it needs the attribute 'inputs', an integer"),
    "inputs by name": (lambda: conv(inputs="five"), "it needs the attribute 'inputs', an integer"),
    "a kernel that has other values": (lambda: conv(kernel_shape=[3, 3]), "SparseConv of y"),
    "computed values": (
        lambda: file(node("SparseConv", "x values keep", **CONV), {"x": None, "values": [60]}, {"keep": KEEP}),
        "its input 'values' is computed, or an input of the file, and has to be an initializer",
    ),
    "a bias too short": (
        lambda: file(
            node("SparseLinear", "x values keep bias", rows=12, inputs=5, block=[4, 1]),
            {"x": None},
            {"values": VALUES, "keep": KEEP, "bias": draw(11)},
        ),
        "its bias has 11 numbers, and 12 rows",
    ),
    "a depthwise weight of two inputs": (
        lambda: file(node("Depthwise", "x weight"), {"x": None}, {"weight": draw(4, 2, 3, 3)}),
        r"its weight is \[4, 2, 3, 3\] and has to be \[channels, 1, height, width\]",
    ),
    "a block without its projection": (
        lambda: file(node("SparseBlock", "x - - - dw", inputs=4, rows=4), {"x": None}, {"dw": draw(4, 1, 3, 3)}),
        "SparseBlock of y",
    ),
    "a depthwise of other channels": (
        lambda: file(
            node("SparseBlock", "x - - - dw - values keep", inputs=5, rows=12, project_block=[4, 1]),
            {"x": None},
            {"dw": draw(4, 1, 3, 3), "values": VALUES, "keep": KEEP},
        ),
        r"its depthwise weight is \[4, 1, 3, 3\], and 5 channels reach it",
    ),
    "keys without values": (
        lambda: file(node("Attention", "q k", heads=1, size=4), {"q": None, "k": None}, {}),
        "both",
    ),
    "no gain": (lambda: file(node("LayerNorm", "x gain"), {"x": None}, {"gain": draw(0)}), "its gain is empty"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused_at_load(name):
    make, words = MALFORMED[name]
    with pytest.raises(Exception, match=words):
        opened(make())


def test_types_of_other_numbers_are_refused_at_load():
    with pytest.raises(Exception, match=r"tensor\(float\)"):
        opened(conv(keep=KEEP.astype(np.float32)))


def attention(**shapes):
    inputs = dict.fromkeys(shapes)
    return opened(file(node("Attention", " ".join(shapes), heads=2, size=3), inputs, {})), {
        name: draw(*shape) for name, shape in shapes.items()
    }


CALLS = {
    "three axes": (lambda: (opened(conv()), {"x": draw(5, 3, 3)}), r"\[5, 3, 3\] and has to be \[batch, 5, height, wi"),
    "other channels": (lambda: (opened(conv()), {"x": draw(1, 4, 3, 3)}), r"its x is \[1, 4, 3, 3\] and has to be"),
    "an image below the kernel": (
        lambda: (
            opened(file(node("Depthwise", "x weight"), {"x": None}, {"weight": draw(2, 1, 5, 5)})),
            {"x": draw(1, 2, 4, 9)},
        ),
        "Depthwise of y",
    ),
    "another residual": (
        lambda: (
            opened(
                file(
                    node("SparseConv", "x values keep - r", **CONV),
                    {"x": None, "r": None},
                    {"values": VALUES, "keep": KEEP},
                )
            ),
            {"x": draw(1, 5, 3, 3), "r": draw(1, 12, 1, 1)},
        ),
        r"its residual is \[1, 12, 1, 1\] and its output \[1, 12, 3, 3\]",
    ),
    "other features": (
        lambda: (
            opened(
                file(
                    node("SparseLinear", "x values keep", rows=12, inputs=5, block=[4, 1]),
                    {"x": None},
                    {"values": VALUES, "keep": KEEP},
                )
            ),
            {"x": draw(2, 6)},
        ),
        r"its x is \[2, 6\] and has to end in 5 features",
    ),
    "other heads": (lambda: attention(q=(1, 4, 5)), r"its q is \[1, 4, 5\] and have to be \[batch, tokens, 18\]"),
    "no keys": (lambda: attention(q=(1, 4, 6), k=(1, 0, 6), v=(1, 0, 6)), "one token of k and v at least"),
    "values of other texts": (lambda: attention(q=(1, 4, 6), k=(1, 2, 6), v=(2, 2, 6)), r"and \[2, 2, 6\] and have"),
    "a mask of other keys": (
        lambda: attention(q=(1, 4, 6), k=(1, 2, 6), v=(1, 2, 6), mask=(4, 4)),
        r"its mask is \[4, 4\] and has to stretch to \[1, 2, 4, 2\]",
    ),
    "rows of another size": (
        lambda: (opened(file(node("LayerNorm", "x gain"), {"x": None}, {"gain": draw(3)})), {"x": draw(2, 4)}),
        r"its x is \[2, 4\] and has to end in 3 features",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_do_not_fit_are_refused(name):
    make, words = CALLS[name]
    session, feed = make()
    with pytest.raises(Exception, match=words):
        run(session, **feed)


def test_a_session_goes_on_after_a_refused_call():
    session = opened(conv())
    with pytest.raises(Exception, match="its x is"):
        run(session, x=draw(1, 4, 3, 3))
    assert run(session, x=draw(1, 5, 3, 3)).shape == (1, 12, 3, 3)


def test_a_runtime_too_old_is_told_so():
    told = []
    create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)(
        lambda code, text: told.append((code, text.decode())) or 1
    )
    table = (ctypes.c_void_p * 8)(ctypes.cast(create, ctypes.c_void_p).value)
    versions = []
    get = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)(
        lambda version: versions.append(version) or (ctypes.addressof(table) if version < 17 else None)
    )
    words = ctypes.create_string_buffer(b"1.16.3")
    name = ctypes.CFUNCTYPE(ctypes.c_void_p)(lambda: ctypes.addressof(words))
    base = (ctypes.c_void_p * 2)(*(ctypes.cast(function, ctypes.c_void_p).value for function in (get, name)))
    register = ctypes.CDLL(library.kernels_library()).RegisterCustomOps
    register.restype = ctypes.c_void_p
    assert register(None, ctypes.byref(base)) == 1
    assert versions == [17, 1]
    ((_, text),) = told
    assert "ONNX Runtime 1.16.3 is too old for the sparse kernels, which need 1.17 or later" in text
    assert "pip install --upgrade onnxruntime" in text
