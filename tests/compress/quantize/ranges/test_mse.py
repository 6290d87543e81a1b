import pytest
import torch

from flyweight.compress.quantize.ranges.mse import mse
from flyweight.compress.quantize.ranges.observed import Histogram, Observed
from flyweight.core.serial import from_json, to_json
from flyweight.numerics.codes import CodeRange


def observed(x, bins=256):
    histogram = Histogram(Observed(float(x.min()), float(x.max())), bins)
    histogram(x)
    return histogram.seen()


def naive(seen, codes, candidates):
    """Each candidate, each bin, one number at a time."""
    best, least = None, float("inf")
    for step in range(candidates, 0, -1):
        low, high = min(step / candidates * seen.low, 0.0), max(step / candidates * seen.high, 0.0)
        scale = (high - low) / (codes.high - codes.low)
        zero = min(max(round(codes.low - low / scale), codes.low), codes.high)
        error = 0.0
        for centre, count in zip(seen.centres().tolist(), seen.counts.tolist(), strict=True):
            code = min(max(round(centre / scale) + zero, codes.low), codes.high)
            error += count * (scale * (code - zero) - centre) ** 2
        if error < least * (1 - 1e-9):
            best, least = step / candidates, error
    return best, least


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", ["normal", "relu", "outlier"])
def test_it_is_the_brute_force_minimum(bits, shape):
    x = torch.randn(3000, generator=torch.Generator().manual_seed(bits))
    x = {"normal": x, "relu": x.clamp(min=0), "outlier": torch.cat([x, torch.tensor([40.0])])}[shape]
    seen, codes = observed(x), CodeRange(bits, signed=False)
    low, high = mse(20)(seen, codes)
    wanted, _ = naive(seen, codes, 20)
    assert high == pytest.approx(wanted * seen.high, abs=seen.high / 20 * 1.01), "ties of float32 may take a neighbour"
    assert low == pytest.approx(high / seen.high * seen.low)


def test_few_bits_clip_more():
    seen = observed(torch.randn(5000))
    highs = [mse()(seen, CodeRange(bits, signed=False))[1] for bits in (2, 3, 4, 8)]
    assert highs == sorted(highs)
    assert highs[0] < seen.high * 0.8


def test_it_goes_to_json_and_back():
    assert from_json(to_json(mse(50))) == mse(50)
