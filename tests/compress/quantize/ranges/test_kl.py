import math

import pytest
import torch

from flyweight.compress.quantize.ranges.kl import kl
from flyweight.compress.quantize.ranges.observed import Histogram, Observed
from flyweight.core.serial import from_json, to_json
from flyweight.numerics.codes import CodeRange


def observed(x, bins=256):
    histogram = Histogram(Observed(float(x.min()), float(x.max())), bins)
    histogram(x)
    return histogram.seen()


def naive(seen, codes, candidates):
    """KL(P ‖ Q) of each candidate, bin by bin."""
    counts = seen.counts.tolist()
    while len(counts) > 2**codes.bits and sum(counts) / len(counts) < 64:
        counts = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
    width = (seen.high - seen.low) / len(counts)
    centres = [seen.low + (i + 0.5) * width for i in range(len(counts))]
    best, least = 1.0, float("inf")
    for step in range(candidates, 0, -1):
        low, high = min(step / candidates * seen.low, 0.0), max(step / candidates * seen.high, 0.0)
        inside = [i for i, c in enumerate(centres) if low <= c <= high]
        if len(inside) < 2:
            continue
        scale = (high - low) / (codes.high - codes.low)
        zero = min(max(round(codes.low - low / scale), codes.low), codes.high)
        P = [counts[i] for i in inside]
        P[0] += sum(counts[: inside[0]])
        P[-1] += sum(counts[inside[-1] + 1 :])
        bins = {}
        for place, i in enumerate(inside):
            code = min(max(round(centres[i] / scale) + zero, codes.low), codes.high)
            bins.setdefault(code, []).append(place)
        Q = [0.0] * len(inside)
        for places in bins.values():
            filled = [p for p in places if counts[inside[p]] > 0]
            for p in filled:
                Q[p] = sum(counts[inside[q]] for q in places) / len(filled)
        Q = [max(q, 1e-9 * sum(P)) if p > 0 else q for p, q in zip(P, Q, strict=True)]
        divergence = sum(p / sum(P) * math.log((p / sum(P)) / (q / sum(Q))) for p, q in zip(P, Q, strict=True) if p > 0)
        if divergence < least * (1 - 1e-9):
            best, least = step / candidates, divergence
    return best


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("shape", ["normal", "relu", "outlier"])
def test_it_is_the_brute_force_minimum(bits, shape):
    x = torch.randn(3000, generator=torch.Generator().manual_seed(bits))
    x = {"normal": x, "relu": x.clamp(min=0), "outlier": torch.cat([x, torch.tensor([40.0])])}[shape]
    seen, codes = observed(x), CodeRange(bits, signed=False)
    low, high = kl(20)(seen, codes)
    assert high == pytest.approx(naive(seen, codes, 20) * seen.high, abs=seen.high / 20 * 1.01)
    assert low == pytest.approx(high / seen.high * seen.low)


def test_a_sparse_histogram_says_nothing_for_clipping():
    seen = observed(torch.randn(500), bins=2048)
    assert kl()(seen, CodeRange(8, signed=False)) == (seen.low, seen.high)


def test_an_outlier_is_clipped():
    seen = observed(torch.cat([torch.randn(200_000).abs(), torch.tensor([100.0])]), bins=2048)
    assert kl()(seen, CodeRange(8, signed=False))[1] < 60


def test_a_constant_keeps_its_range():
    assert kl()(observed(torch.full((10,), 3.0)), CodeRange(8, signed=False)) == (3.0, 3.0)


def test_it_goes_to_json_and_back():
    assert from_json(to_json(kl(50))) == kl(50)
