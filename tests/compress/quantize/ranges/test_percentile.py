import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.compress.quantize.ranges.observed import Histogram, Observed
from flyweight.compress.quantize.ranges.percentile import percentile
from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json
from flyweight.numerics.codes import CodeRange

CODES = CodeRange(8, signed=False)


def observed(x, bins=2048):
    histogram = Histogram(Observed(float(x.min()), float(x.max())), bins)
    histogram(x)
    return histogram.seen()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([90.0, 99.0, 99.9, 100.0]))
def test_the_tails_hold_no_more_than_their_share_and_a_bin_more_would(seed, share):
    x = torch.randn(5000, generator=torch.Generator().manual_seed(seed)) ** 3
    low, high = percentile(share)(observed(x), CODES)
    width = float(x.max() - x.min()) / 2048
    edge, tail = 1e-4 * width, len(x) * (1 - share / 100)
    assert (x < low - edge).sum() <= tail + 1e-6
    assert (x > high + edge).sum() <= tail + 1e-6
    assert (x < low + width + edge).sum() > tail - 1e-6
    assert (x > high - width - edge).sum() > tail - 1e-6


def test_of_a_hundred_everything_counts():
    x = torch.tensor([-3.0, 0.0, 0.1, 0.2, 9.0])
    assert percentile(100.0)(observed(x), CODES) == (-3.0, 9.0)


def test_an_outlier_goes():
    x = torch.cat([torch.linspace(0, 1, 99_999), torch.tensor([1000.0])])
    _, high = percentile(99.99)(observed(x), CODES)
    assert high <= 1.5


def test_a_constant_keeps_its_range():
    assert percentile()(observed(torch.full((10,), 3.0)), CODES) == (3.0, 3.0)


@pytest.mark.parametrize("share", [50, 101, -1.0])
def test_other_shares_are_refused(share):
    with pytest.raises(FlyweightError, match="must be above 50 and at most 100"):
        percentile(share)


def test_it_goes_to_json_and_back():
    assert from_json(to_json(percentile(99.5))) == percentile(99.5)
