"""The activations at the end of a product, against their definitions in float64, on every path."""

import math

import numpy as np
import pytest

from abi_paths import available_paths
from flyweight.kernels.library import available

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")


@pytest.fixture(scope="module")
def paths():
    workers = available_paths(FLYWEIGHT_TUNE="0")
    yield workers
    for worker in workers.values():
        worker.close()


def through(worker, x, activation, kind):
    """``x`` through an identity of one channel, so that nothing but the activation is left."""
    weight = {"rows": 1, "inputs": 1, "taps": 1, "block_rows": 1, "block_columns": 1}
    weight |= {"values": np.ones(1, np.float32), "value_count": 1, "keep": None, "keep_bytes": 0}
    told = {"weight": weight, "window": [1] * 6 + [0] * 4, "bias": None, "activation": activation}
    shaped = x.reshape(-1, 1) if kind == "linear" else x.reshape(1, 1, 1, -1)
    outputs = worker(kind, told, shaped, None, ((1, True),))
    assert not isinstance(outputs, str), outputs
    return outputs[0].ravel()


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_gelu_is_within_a_millionth_of_the_true_one(paths, kind):
    x = np.concatenate([np.linspace(-12, 12, 40001), np.logspace(-30, 30, 61), -np.logspace(-30, 30, 61)])
    x = x.astype(np.float32)
    # erfc of the other side keeps the tail below zero exact.
    wanted = np.array([v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.astype(np.float64)])
    for path, worker in paths.items():
        y = through(worker, x, 4, kind)
        off = np.abs(y - wanted) - 1.2e-7 * np.abs(wanted)  # what rounding the result alone may cost
        assert off.max() <= 1e-7, f"{path}: {off.max()} at {x[off.argmax()]}"


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_hard_swish(paths, kind):
    x = np.linspace(-8, 8, 4001).astype(np.float32)
    wanted = x.astype(np.float64) * np.clip(x.astype(np.float64) + 3, 0, 6) / 6
    for worker in paths.values():
        assert np.abs(through(worker, x, 3, kind) - wanted).max() <= 1e-6


@pytest.mark.parametrize("activation", [0, 1, 2, 3, 4])
def test_what_is_no_number_stays_none_and_what_is_infinite_has_its_limit(paths, activation):
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1.0] * 7, np.float32)
    limits = {0: (np.inf, -np.inf), 1: (np.inf, 0), 2: (6, 0), 3: (np.inf, None), 4: (np.inf, 0)}[activation]
    for path, worker in paths.items():
        y = through(worker, x, activation, "conv").reshape(7, 5)
        assert np.isnan(y[:, 0]).all(), path
        assert (y[:, 1] == limits[0]).all(), path
        if limits[1] is not None:  # hard-swish multiplies infinity by zero there
            assert np.allclose(y[:, 2], limits[1], atol=1e-7), path
        assert (y[:, 3] == 0).all(), path
