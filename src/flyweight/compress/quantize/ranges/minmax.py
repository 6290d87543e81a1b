"""The range of all that was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.compress.quantize.ranges.observed import Observed
from flyweight.compress.quantize.ranges.rule import Range
from flyweight.numerics.codes import CodeRange


@dataclass(frozen=True)
class minmax(Range):
    """From the least to the greatest value observed: nothing is clipped, and one outlier stretches every step."""

    histogram: ClassVar[bool] = False

    def __call__(self, observed: Observed, codes: CodeRange) -> tuple[float, float]:
        return observed.low, observed.high
