"""Attention and layer normalization against float64, through the C interface, on every path of this machine."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from abi_paths import available_paths
from flyweight.kernels.library import available

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")

RUNS = ((1, True), (2, False), (-3, True))
"""Threads of the library's own (below zero: of a pool of the caller's), and whether arrays end at a forbidden page."""

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
counts = st.one_of(st.integers(1, 9), st.integers(1, 70))


@pytest.fixture(scope="module")
def paths():
    workers = available_paths()
    yield workers
    for worker in workers.values():
        worker.close()


def assert_agrees(paths, kind, told, x, wanted):
    for path, worker in paths.items():
        outputs = worker(kind, told, x, None, RUNS)
        assert not isinstance(outputs, str), f"{path}: {outputs}"
        off = np.abs(outputs[0] - wanted.numpy()).max(initial=0)
        assert off <= 1e-5 * np.abs(wanted.numpy()).max(initial=1), f"{path}: off by {off}"
        for other in outputs[1:]:
            assert np.array_equal(outputs[0], other), f"{path}: threads change the result"


def trimmed(random, batch, tokens, width, token):
    """Tokens ``token`` numbers apart, of which ``width`` count; memory ends with the last that does."""
    array = random.standard_normal((batch, tokens, token)).astype(np.float32)
    return array[..., :width], array.reshape(-1)[: array.size - (token - width)]


@quick
@given(
    st.integers(0, 3),
    counts,
    counts,
    st.integers(1, 4),
    st.one_of(st.integers(1, 9), st.sampled_from([32, 64, 33])),
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
    st.sampled_from(["none", "keys", "texts", "heads", "queries", "all", "nothing seen"]),
    st.floats(0.05, 3),
    st.integers(0, 2**32 - 1),
)
def test_attention(paths, batch, queries, keys, heads, size, gaps, masked, scale, seed):
    random = np.random.default_rng(seed)
    width = heads * size
    (q, q_all), (k, k_all), (v, v_all) = (
        trimmed(random, max(1, batch), tokens, width, width + gap)
        for tokens, gap in zip((queries, keys, keys), gaps, strict=True)
    )
    full = (max(1, batch), heads, queries, keys)
    kept = {"none": (), "keys": (3,), "texts": (0, 3), "heads": (1, 3), "queries": (2, 3)}.get(masked, (0, 1, 2, 3))
    shape = [size if axis in kept else 1 for axis, size in enumerate(full)]
    mask, steps = None, [0, 0, 0]
    if masked != "none":
        mask = random.standard_normal(shape).astype(np.float32)
        mask[random.random(shape) < (1 if masked == "nothing seen" else 0.3)] = np.finfo(np.float32).min
        steps = [0 if n == 1 else stride // 4 for n, stride in zip(shape, mask.strides, strict=True)][:3]
    told = {
        "spec": (batch, queries, keys, heads, size, *(width + gap for gap in gaps), *steps, scale),
        "others": (k_all, v_all, mask),
        "shape": (batch, queries, width),
    }
    split = [torch.from_numpy(np.array(x)).double().unflatten(2, (heads, size)).transpose(1, 2) for x in (q, k, v)]
    scores = split[0] @ split[1].transpose(2, 3) * float(np.float32(scale))
    scores = scores if mask is None else scores + torch.from_numpy(mask).double()
    wanted = (torch.softmax(scores, -1) @ split[2]).transpose(1, 2).flatten(2)[:batch]
    assert_agrees(paths, "attention", told, q_all, wanted)
    others = (*(np.ascontiguousarray(x.swapaxes(1, 2)) for x in (k, v)), mask)
    told |= {"others": others, "shape": (batch, width, queries)}
    assert_agrees(paths, "attention_turned", told, np.ascontiguousarray(q.swapaxes(1, 2)), wanted.mT)


@quick
@given(st.integers(0, 9), st.one_of(counts, st.integers(1, 400)), st.booleans(), st.integers(0, 2**32 - 1))
def test_layer_norm(paths, rows, size, shifts, seed):
    random = np.random.default_rng(seed)
    x = (random.standard_normal((rows, size)) * 3 + random.standard_normal((rows, 1)) * 10).astype(np.float32)
    gain, bias = (random.standard_normal(size).astype(np.float32) for _ in range(2))
    told = {"spec": (rows, size, 1e-2), "others": (gain, bias if shifts else None), "shape": (rows, size)}
    wide = [torch.from_numpy(array).double() for array in (x, gain, bias)]
    wanted = F.layer_norm(wide[0], (size,), wide[1], wide[2] if shifts else None, float(np.float32(1e-2)))
    assert_agrees(paths, "layer_norm", told, x, wanted)


@quick
@given(st.integers(0, 3), counts, st.one_of(counts, st.integers(1, 400)), st.booleans(), st.integers(0, 2**32 - 1))
def test_layer_norm_of_features_before_tokens(paths, batch, tokens, size, shifts, seed):
    random = np.random.default_rng(seed)
    x = (random.standard_normal((batch, size, tokens)) * 3 + random.standard_normal((batch, 1, tokens)) * 10).astype(
        "f"
    )
    gain, bias = (random.standard_normal(size).astype(np.float32) for _ in range(2))
    told = {"spec": (batch, size, tokens, 1e-2), "others": (gain, bias if shifts else None), "shape": x.shape}
    wide = [torch.from_numpy(array).double() for array in (x, gain, bias)]
    wanted = F.layer_norm(wide[0].mT, (size,), wide[1], wide[2] if shifts else None, float(np.float32(1e-2))).mT
    assert_agrees(paths, "layer_norm_turned", told, x, wanted)


def test_what_contradicts_itself_is_refused(paths):
    x = np.zeros(64, np.float32)
    for spec, words in (
        ((1, 2, 0, 2, 4, 8, 8, 8, 0, 0, 0, 1.0), "keys=0"),
        ((1, 2, 2, 2, 4, 8, 7, 8, 0, 0, 0, 1.0), "tokens lie 7 floats apart, and one has heads \\* size = 8"),
        ((1, 2, 2, 2**40, 2**40, 8, 8, 8, 0, 0, 0, 1.0), "Cut the batch"),
        ((1, 2, 2, 2, 4, 8, 8, 8, -1, 0, 0, 1.0), "a step of the mask is negative"),
    ):
        told = {"spec": spec, "others": (x, x, x), "shape": (64,)}
        for worker in paths.values():
            said = worker("attention", told, x, None, RUNS[:1])
            assert isinstance(said, str)
            assert words.replace("\\", "") in said
    told = {"spec": (2, 0, 1e-5), "others": (x, None), "shape": (64,)}
    for worker in paths.values():
        assert "rows=2, size=0" in worker("layer_norm", told, x, None, RUNS[:1])
        turned = {**told, "spec": (1, 0, 2, 1e-5)}
        assert "batch=1, size=0, tokens=2" in worker("layer_norm_turned", turned, x, None, RUNS[:1])
