"""What is seen of one tensor during calibration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 2048


@dataclass(frozen=True, eq=False)
class Observed:
    """The least and the greatest value of a tensor over the calibration set, and how the values lie between them.

    ``counts`` (float64) are those of equal bins from ``low`` to ``high``; None for a rule that does without.
    """

    low: float
    high: float
    counts: Tensor | None = None

    def centres(self) -> Tensor:
        """The middle of each bin, float64."""
        assert self.counts is not None
        bins = len(self.counts)
        return self.low + (torch.arange(bins, dtype=torch.float64) + 0.5) * (self.high - self.low) / bins


class Extremes:
    """An observer of the least and the greatest value."""

    def __init__(self) -> None:
        self.low, self.high = float("inf"), float("-inf")
        self.values = 0

    def __call__(self, x: Tensor) -> None:
        if x.numel():
            low, high = (float(v) for v in torch.aminmax(x))
            # A NaN is taken, and stays: Python's min(a, b) is a unless b < a.
            self.low = min(self.low, low) if low == low else low
            self.high = max(self.high, high) if high == high else high
            self.values += x.numel()

    def seen(self) -> Observed | None:
        """What was seen; None where nothing was."""
        return Observed(self.low, self.high) if self.values else None


class Histogram:
    """An observer that counts values in equal bins between extremes that are known already."""

    def __init__(self, extremes: Observed, bins: int = BINS) -> None:
        self.extremes = extremes
        self.counts = torch.zeros(bins, dtype=torch.float64)

    def __call__(self, x: Tensor) -> None:
        low, high = self.extremes.low, self.extremes.high
        if high > low:
            flat = x.detach().float().reshape(-1)
            place = ((flat - low) * (len(self.counts) / (high - low))).long().clamp_(0, len(self.counts) - 1)
            self.counts += torch.bincount(place, minlength=len(self.counts)).double().cpu()
        else:
            self.counts[0] += x.numel()

    def seen(self) -> Observed:
        """What was seen."""
        return Observed(self.extremes.low, self.extremes.high, self.counts)
