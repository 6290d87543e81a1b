"""The range that rounds with the least squared error."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flyweight.compress.quantize.ranges.observed import Observed
from flyweight.compress.quantize.ranges.rule import Range
from flyweight.numerics.affine import affine_grid, fake_quantize
from flyweight.numerics.codes import CodeRange


@dataclass(frozen=True)
class mse(Range):
    """[t·x_min, t·x_max] with the t of ``candidates`` equal steps up to 1 that makes Σ (x − x̂)² least.

    x stands for the middles of the histogram's bins, each weighed by its count.
    """

    candidates: int = 100

    def __call__(self, observed: Observed, codes: CodeRange) -> tuple[float, float]:
        assert observed.counts is not None
        centres, counts = observed.centres().float(), observed.counts
        shares = torch.arange(1, self.candidates + 1) / self.candidates
        scale, zero_point = affine_grid(shares * observed.low, shares * observed.high, codes)
        rounded = fake_quantize(centres, scale[:, None], zero_point[:, None], codes)
        errors = ((rounded - centres).double() ** 2 * counts).sum(1)
        # Of equals the widest, which clips least.
        best = len(errors) - 1 - int(errors.flip(0).argmin())
        share = float(shares[best])
        return share * observed.low, share * observed.high
