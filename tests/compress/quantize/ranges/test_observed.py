import pytest
import torch

from flyweight.compress.quantize.ranges.observed import Extremes, Histogram, Observed


def test_extremes_are_those_of_all_batches():
    extremes = Extremes()
    assert extremes.seen() is None
    parts = torch.randn(5, 100)
    for part in parts:
        extremes(part)
    extremes(torch.zeros(0))
    assert extremes.seen().low == parts.min().item()
    assert extremes.seen().high == parts.max().item()


def test_a_nan_is_not_forgotten():
    extremes = Extremes()
    for part in ([1.0, 2.0], [0.0, float("nan")], [-5.0, 5.0]):
        extremes(torch.tensor(part))
    assert extremes.seen().low != extremes.seen().low


def test_the_histogram_is_numpy_s():
    parts = torch.randn(5, 400, generator=torch.Generator().manual_seed(0))
    low, high = float(parts.min()), float(parts.max())
    histogram = Histogram(Observed(low, high), bins=64)
    for part in parts:
        histogram(part)
    wanted = torch.histc(parts.double(), 64, low, high)
    assert (histogram.seen().counts - wanted).abs().sum() <= 4, "a value on the edge of two bins may fall to either"
    assert histogram.seen().counts.sum() == parts.numel()


def test_a_constant_fills_one_bin():
    histogram = Histogram(Observed(2.0, 2.0), bins=8)
    histogram(torch.full((7,), 2.0))
    assert histogram.seen().counts.tolist() == [7, 0, 0, 0, 0, 0, 0, 0]


def test_centres_lie_in_the_middle_of_bins():
    assert Observed(0.0, 4.0, torch.zeros(4)).centres().tolist() == pytest.approx([0.5, 1.5, 2.5, 3.5])
