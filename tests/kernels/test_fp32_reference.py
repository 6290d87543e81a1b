"""The float kernels against their twins in float64, through the C interface, on every path of this machine."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from abi_cases import (
    BLOCKS,
    block_cases,
    conv_cases,
    depthwise_cases,
    expected,
    large_block_cases,
    linear_cases,
    sparse_matrix,
    tall_cases,
)
from abi_paths import available_paths
from flyweight.kernels.library import available

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")

TOLERANCE = 1e-5
"""Of the sum of the absolute values of a result's terms: where terms cancel, what is left has no relative precision."""

RUNS = ((1, True), (2, False), (-3, True))
"""Threads of the library's own (below zero: of a pool of the caller's, which takes the last task first), and whether
arrays end at a forbidden page (else they begin after one)."""

quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def paths():
    workers = available_paths()
    assert "portable" in workers
    yield workers
    for worker in workers.values():
        worker.close()


def agrees(paths, kind, told, x, residual):
    wanted = expected(kind, told, x, residual)
    for path, worker in paths.items():
        outputs = worker(kind, told, x, residual, RUNS)
        assert not isinstance(outputs, str), f"{path}: {outputs}"
        first = outputs[0]
        assert first.shape == tuple(wanted.value.shape)
        off = np.abs(first - wanted.value.numpy())
        assert (off <= TOLERANCE * wanted.terms.numpy()).all(), f"{path}: off by {np.nanmax(off)}, at {off.argmax()}"
        for other in outputs[1:]:
            assert np.array_equal(first.view(np.uint32), other.view(np.uint32)), f"{path}: threads change the result"


@quick
@given(conv_cases())
def test_convolution(paths, case):
    agrees(paths, "conv", *case)


@settings(quick, max_examples=25)
@given(tall_cases())
def test_convolution_in_bands(paths, case):
    agrees(paths, "conv", *case)


@quick
@given(linear_cases())
def test_linear(paths, case):
    agrees(paths, "linear", *case)


@pytest.mark.parametrize("tokens", [40, 128])
@pytest.mark.parametrize("block", BLOCKS)
def test_linear_worth_sharing(paths, block, tokens):
    random = np.random.default_rng(0)
    weight = sparse_matrix(random, 192, 160, 1, block, 0.7, False, True)
    spec = {"weight": weight, "bias": random.standard_normal(192).astype(np.float32), "activation": 3}
    x, residual = (random.standard_normal((tokens, n)).astype(np.float32) for n in (160, 192))
    agrees(paths, "linear", spec, x, residual)


@quick
@given(depthwise_cases())
def test_depthwise(paths, case):
    agrees(paths, "depthwise", *case)


@quick
@given(block_cases())
def test_block(paths, case):
    agrees(paths, "block", *case)


@settings(quick, max_examples=8)
@given(large_block_cases())
def test_block_in_strips(paths, case):
    agrees(paths, "block", *case)
