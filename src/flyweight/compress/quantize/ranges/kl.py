"""The range that loses the least information."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.quantize.ranges.observed import Observed
from flyweight.compress.quantize.ranges.rule import Range
from flyweight.numerics.affine import affine_grid, quantize
from flyweight.numerics.codes import CodeRange

_ENOUGH = 64


@dataclass(frozen=True)
class kl(Range):
    """[t·x_min, t·x_max] with the t of ``candidates`` equal steps up to 1 that makes KL(P ‖ Q) least.

    P is the histogram with all that is clipped added to the last bins inside; Q gives each code's share of the
    unclipped values evenly to those of its bins that are not empty (Migacz 2017, 8-bit inference with TensorRT). Bins
    are merged two by two until they hold 64 values on average, or are no more than the codes: of a sparse histogram the
    empty bins would speak for clipping.
    """

    candidates: int = 100

    def __call__(self, observed: Observed, codes: CodeRange) -> tuple[float, float]:
        observed = _filled(observed, codes)
        best, least = 1.0, float("inf")
        for step in range(self.candidates, 0, -1):
            share = step / self.candidates
            divergence = _divergence(observed, share, codes)
            if divergence < least:
                best, least = share, divergence
        return best * observed.low, best * observed.high


def _filled(observed: Observed, codes: CodeRange) -> Observed:
    assert observed.counts is not None
    counts = observed.counts
    while len(counts) % 2 == 0 and len(counts) > codes.high - codes.low + 1 and counts.mean() < _ENOUGH:
        counts = counts.reshape(-1, 2).sum(1)
    return Observed(observed.low, observed.high, counts)


def _divergence(observed: Observed, share: float, codes: CodeRange) -> float:
    assert observed.counts is not None
    counts, centres = observed.counts, observed.centres()
    low, high = min(0.0, share * observed.low), max(0.0, share * observed.high)
    inside = torch.nonzero((centres >= low) & (centres <= high)).reshape(-1)
    if len(inside) < 2 or counts.sum() == 0:
        return float("inf")
    first, last = int(inside[0]), int(inside[-1]) + 1
    kept = counts[first:last]
    P = kept.clone()
    P[0] += counts[:first].sum()
    P[-1] += counts[last:].sum()
    scale, zero_point = affine_grid(torch.tensor(low), torch.tensor(high), codes)
    code = quantize(centres[first:last], scale, zero_point, codes).long() - codes.low
    Q = _spread(kept, code, codes.high - codes.low + 1)
    if bool(((P > 0) & (Q == 0)).any()):
        # Values that only Q lacks cost infinitely much; a little of each end keeps a clipped, else empty bin finite.
        Q = torch.where(P > 0, Q.clamp(min=1e-9 * float(P.sum())), Q)
    P, Q = P / P.sum(), Q / Q.sum()
    some = P > 0
    return float((P[some] * (P[some] / Q[some]).log()).sum())


def _spread(kept: Tensor, code: Tensor, codes: int) -> Tensor:
    filled = kept > 0
    sums = torch.zeros(codes, dtype=torch.float64).index_add_(0, code, kept)
    number = torch.zeros(codes, dtype=torch.float64).index_add_(0, code, filled.double())
    return torch.where(filled, (sums / number.clamp(min=1))[code], torch.zeros_like(kept))
