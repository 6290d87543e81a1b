"""What a rule for a range is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from flyweight.compress.quantize.ranges.observed import Observed
from flyweight.numerics.codes import CodeRange


class Range(ABC):
    """A rule for the range of one tensor's activations. Subclasses are final frozen dataclasses.

    ``histogram`` says whether it needs the counts of what was observed, so calibration passes twice over its set.
    """

    histogram: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, observed: Observed, codes: CodeRange) -> tuple[float, float]:
        """The least and the greatest value to represent, where ``observed`` is to be kept in ``codes``."""
