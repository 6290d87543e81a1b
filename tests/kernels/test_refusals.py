"""What the C interface refuses, and that no description breaks it: on every path, through the C interface."""

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from abi_cases import block_cases, conv_cases, depthwise_cases, linear_cases, sparse_matrix
from abi_paths import available_paths
from flyweight.kernels.library import available

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")


@pytest.fixture(scope="module")
def paths():
    workers = available_paths(FLYWEIGHT_TUNE="0")
    yield workers
    for worker in workers.values():
        worker.close()


def conv(**more):
    """A 3×3 convolution of 5 inputs to 10 rows in tiles of 4×1, with ``more`` of its fields set anew."""
    weight = sparse_matrix(np.random.default_rng(0), 10, 5, 9, 4, 0.5, False, False)
    window = [3, 3, 1, 1, 1, 1, 1, 1, 1, 1]
    told = {"weight": weight, "window": window, "bias": np.zeros(10, np.float32), "activation": 0}
    for name, value in more.items():
        (weight if name in weight else told)[name] = value
    return told


def linear(**more):
    told = conv()
    del told["window"]
    told["weight"] = sparse_matrix(np.random.default_rng(0), 10, 5, 1, 4, 0.5, False, False)
    for name, value in more.items():
        (told["weight"] if name in told["weight"] else told)[name] = value
    return told


def depthwise(**more):
    window = [3, 3, 1, 1, 1, 1, 1, 1, 1, 1]
    weight = np.zeros((5, 3, 3), np.float32)
    return {"channels": 5, "window": window, "weight": weight, "bias": None, "activation": 0, **more}


def block(**more):
    point = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    wide = {"window": point, "weight": sparse_matrix(np.random.default_rng(0), 5, 2, 1, 4, 0.5, False, False)}
    narrow = {"window": point, "weight": sparse_matrix(np.random.default_rng(0), 2, 5, 1, 4, 0.5, False, False)}
    none = {"bias": None, "activation": 0}
    return {"expand": {**wide, **none}, "depthwise": depthwise(), "project": {**narrow, **none}, "residual": 0, **more}


def padded(*values):
    """A window of 3×3 with its numbers from ``values`` on set anew."""
    return [3, 3, 1, 1, 1, 1, 1, 1, 1, 1][: 10 - len(values)] + list(values)


REFUSED = [
    ("conv", None, ["NULL"]),
    ("conv", conv(rows=0), ["weight", "rows=0", "from 1 to"]),
    ("conv", conv(inputs=-5), ["weight", "inputs=-5", "from 1 to"]),
    ("conv", conv(rows=1 << 62), ["weight", str(1 << 62), "from 1 to"]),
    ("conv", conv(rows=(1 << 31) - 1, inputs=(1 << 31) - 1), ["weight", "Give"]),
    ("conv", conv(block_rows=3), ["weight", "3x1", "16x1"]),
    ("conv", conv(block_columns=4), ["weight", "4x4", "16x1"]),
    ("conv", conv(block_rows=0), ["weight", "0x1", "16x1"]),
    ("conv", conv(keep_bytes=1), ["weight.keep", "1 bytes", "135 tiles", "17"]),
    ("conv", conv(keep=None), ["weight.keep", "NULL", "17 bytes", "0 to keep all"]),
    ("conv", conv(keep=np.full(17, 255, np.uint8)), ["weight.keep", "bits set after", "135"]),
    ("conv", conv(value_count=7), ["weight", "7 values", "need"]),
    ("conv", conv(values=None), ["weight.values", "NULL"]),
    ("conv", conv(activation=5), ["activation 5", "0 (none) to 4"]),
    ("conv", conv(activation=-1), ["activation -1"]),
    ("conv", conv(window=padded(-1, 1, 1, 1)), ["pad_top", "-1"]),
    ("conv", conv(window=[3, 3, 0, 1, 1, 1, 1, 1, 1, 1]), ["stride_h", "0"]),
    ("conv", conv(window=[3, 3, 1, 1, 0, 1, 1, 1, 1, 1]), ["dilation_h", "0"]),
    ("conv", conv(window=[3, 2, 1, 1, 1, 1, 1, 1, 1, 1]), ["9", "3", "2"]),
    ("linear", None, ["NULL"]),
    ("linear", linear(weight=conv()["weight"]), ["tap", "9"]),
    ("linear", linear(block_rows=5), ["weight", "5x1", "16x1"]),
    ("linear", linear(value_count=3), ["weight", "3 values"]),
    ("linear", linear(activation=9), ["activation 9"]),
    ("depthwise", None, ["NULL"]),
    ("depthwise", depthwise(channels=0), ["channels", "0"]),
    ("depthwise", depthwise(weight=None), ["weight", "NULL"]),
    ("depthwise", depthwise(activation=9), ["activation 9"]),
    ("depthwise", depthwise(window=[0, 3, 1, 1, 1, 1, 1, 1, 1, 1]), ["kernel_h", "0"]),
    ("block", None, ["NULL"]),
    ("block", block(depthwise=None), ["depthwise", "NULL"]),
    ("block", block(project=None), ["project", "NULL"]),
    ("block", block(expand=None, depthwise=depthwise(channels=4, weight=np.zeros((4, 3, 3), np.float32))), ["4", "5"]),
    ("block", block(project=conv()), ["project", "1"]),
    ("block", block(expand=conv()), ["expand", "1"]),
]


@pytest.mark.parametrize("place", range(len(REFUSED)))
def test_what_is_malformed_is_refused_in_words(paths, place):
    kind, told, words = REFUSED[place]
    for path, worker in paths.items():
        said = worker(kind, told, np.zeros((1, 5, 6, 6), np.float32), None, ())
        assert isinstance(said, str), f"{path} took it"
        assert all(word in said for word in [f"fw_{kind}_create: ", *words]), said
        assert said.endswith(".")


@pytest.mark.parametrize("kind", ["conv", "depthwise", "block"])
def test_an_image_that_is_too_small_is_refused(paths, kind):
    told = {"conv": conv, "depthwise": depthwise, "block": block}[kind]()
    where = told["depthwise"] if kind == "block" else told
    where["window"] = [3, 3, 1, 1, 4, 4, 1, 1, 1, 1]
    for worker in paths.values():
        said = worker(kind, told, np.zeros((1, 2 if kind == "block" else 5, 5, 5), np.float32), None, ((1, True),))
        assert all(word in said for word in ("fw_output_size: ", "5 x 5", "7 x 7", "9 x 9", "larger image")), said


def test_a_block_that_would_add_what_is_of_another_size_is_refused(paths):
    told = block(residual=1, depthwise=depthwise(window=[3, 3, 2, 2, 1, 1, 1, 1, 1, 1]))
    for worker in paths.values():
        said = worker("block", told, np.zeros((1, 2, 6, 6), np.float32), None, ((1, True),))
        assert isinstance(said, str) and "residual" in said and said.endswith("."), said


def test_a_residual_where_none_is_taken_is_refused(paths):
    x = np.zeros((1, 5, 6, 6), np.float32)
    for worker in paths.values():
        assert "residual" in worker("depthwise", depthwise(), x, x, ((1, True),))


def test_a_layer_of_another_kind_is_refused(paths):
    for worker in paths.values():
        said = worker("image as tokens", conv(), np.zeros((4, 5), np.float32), None, ((1, True),))
        assert "doesn't run on tokens" in said and "fw_linear_create" in said


NUMBERS = [0, 1, 2, 3, 5, -1, 7, 16, 64, 65, 1 << 20, (1 << 20) + 1, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 40, 1 << 62]
NUMBERS += [(1 << 63) - 1, -(1 << 31), -(1 << 63)]


@st.composite
def broken(draw):
    """A layer some of whose numbers are others, of a kind at random."""
    kind = draw(st.sampled_from(["conv", "linear", "depthwise", "block"]))
    makers = {"conv": conv_cases, "linear": linear_cases, "depthwise": depthwise_cases, "block": block_cases}
    told, x, _ = draw(makers[kind]())
    told = copy.deepcopy(told)
    parts = [told] if kind != "block" else [part for part in told.values() if isinstance(part, dict)]
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from(parts))
        where = draw(st.sampled_from([one for one in (part, part.get("weight")) if isinstance(one, dict)]))
        name = draw(st.sampled_from([n for n, v in where.items() if not isinstance(v, dict) and n != "weight"]))
        value = where[name]
        number = draw(st.sampled_from(NUMBERS))
        if name == "window":
            place = draw(st.integers(0, 9))
            where[name] = [*value[:place], narrow(number), *value[place + 1 :]]
        elif isinstance(value, np.ndarray) and name == "keep" and len(value) and draw(st.booleans()):
            value = value.copy()
            value[draw(st.integers(0, len(value) - 1))] ^= draw(st.integers(1, 255))
            where[name] = value
        elif isinstance(value, np.ndarray):
            where[name] = None
        elif value is not None:
            where[name] = narrow(number) if name in ("block_rows", "block_columns", "activation") else number
    for part in parts:
        assume(truthful(part))
    return kind, told, x


def narrow(number):
    """As an int32 holds it."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


def truthful(part):
    """Whether the arrays are as long as the description says: what no check could find out."""
    weight = part.get("weight")
    if isinstance(weight, dict):
        if weight["values"] is not None and weight["value_count"] > weight["values"].size:
            return False
        if weight["keep"] is not None and weight["keep_bytes"] > weight["keep"].size:
            return False
        return part["bias"] is None or len(part["bias"]) >= weight["rows"] or weight["rows"] > 1 << 20
    if weight is None:
        return True
    kernel = part["window"][:2]
    asked = part["channels"] * kernel[0] * kernel[1]
    beyond = part["channels"] > 1 << 40 or max(kernel) > 1 << 20
    return beyond or min(part["channels"], *kernel) < 1 or (asked <= weight.size and part["channels"] <= len(weight))


def reads(kind, told, x):
    """Whether ``x`` has what the description says that it reads."""
    if kind == "block":
        first = told["expand"]["weight"]["inputs"] if told["expand"] else told["depthwise"]["channels"]
    else:
        first = told["channels"] if kind == "depthwise" else told["weight"]["inputs"]
    return x.shape[1] == first


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(broken())
def test_no_description_breaks_it(paths, case):
    kind, told, x = case
    runs = ((1, True), (2, False)) if reads(kind, told, x) else ()
    for worker in paths.values():
        said = worker(kind, told, x, None, runs)  # raises where the process died
        if isinstance(said, str) and said != "skipped":
            assert said.startswith("fw_") and said.endswith(".") and "unknown" not in said and "std::" not in said, said
