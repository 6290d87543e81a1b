"""The range without its tails."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flyweight.compress.quantize.ranges.observed import Observed
from flyweight.compress.quantize.ranges.rule import Range
from flyweight.core.errors import FlyweightError
from flyweight.numerics.codes import CodeRange


@dataclass(frozen=True)
class percentile(Range):
    """From the (100 − ``share``)-th to the ``share``-th percentile of the values, to the width of a histogram's bin.

    A bin belongs to the range unless it lies wholly in a tail. An end on the other side of 0 than its tail is 0 anyhow.
    """

    share: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.share <= 100:
            raise FlyweightError(
                f"FlyweightError: percentile({self.share!r}) must be above 50 and at most 100, as 99.9."
            )

    def __call__(self, observed: Observed, codes: CodeRange) -> tuple[float, float]:
        assert observed.counts is not None
        counts = observed.counts
        tail = round(float(counts.sum()) * (1 - self.share / 100), 6)  # 1 − .9 is a little under .1
        width = (observed.high - observed.low) / len(counts)
        below = int(torch.searchsorted(counts.cumsum(0), tail, right=True))
        above = int(torch.searchsorted(counts.flip(0).cumsum(0), tail, right=True))
        low, high = observed.low + below * width, observed.high - above * width
        return (low, high) if low < high else (observed.low, observed.high)
