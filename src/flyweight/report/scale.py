"""How this run's quality is written: in per cent where it lies between 0 and 1, as it came otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from flyweight.core.point import Point, Score
from flyweight.report.units import MISSING, figures


@dataclass(frozen=True)
class Scale:
    """The way to write qualities and their differences, one for the whole report.

    A quality between 0 and 1 (accuracy, F1, AUC) is written in per cent with as many decimals as its number of
    examples can tell apart, and differences in points; any other quality is written as it came, to 4 figures.
    """

    percent: bool
    decimals: int

    @classmethod
    def of(cls, points: Iterable[Point]) -> Scale:
        """The scale that fits every score of ``points``."""
        scores = [s for p in points for s in (p.quality, p.report) if s is not None]
        inside = all(0 <= v <= 1 for s in scores for v in (s.value, s.low, s.high) if math.isfinite(v))
        most = max((s.examples for s in scores), default=0)
        return cls(inside, 1 if most <= 1000 else 2)

    @property
    def unit(self) -> str:
        """The unit of a quality."""
        return "%" if self.percent else ""

    @property
    def difference(self) -> str:
        """The unit of a difference."""
        return "points" if self.percent else ""

    def value(self, quality: float) -> float:
        """``quality`` as a number in the unit of the scale."""
        return quality * 100 if self.percent else quality

    def bare(self, quality: float | None) -> str:
        """``quality`` without its unit."""
        if quality is None or not math.isfinite(quality):
            return MISSING
        return f"{quality * 100:.{self.decimals}f}" if self.percent else figures(quality, 4)

    def show(self, score: Score | None) -> str:
        """A score with its unit.

        >>> Scale(True, 1).show(Score(value=0.9132, low=0.9, high=0.92, examples=1000))
        '91.3 %'
        """
        if score is None:
            return MISSING
        return f"{self.bare(score.value)} {self.unit}".rstrip()

    def interval(self, score: Score | None) -> str:
        """The 95 % interval of a score.

        >>> Scale(True, 1).interval(Score(value=0.9132, low=0.9, high=0.92, examples=1000))
        '90.0 to 92.0'
        """
        return "" if score is None else f"{self.bare(score.low)} to {self.bare(score.high)}"

    def change(self, value: float | None) -> str:
        """A signed difference of two qualities, in points or in the quality's own unit.

        >>> Scale(True, 1).change(-0.0024), Scale(True, 1).change(0.01), Scale(True, 1).change(-0.0001)
        ('−0.2', '+1.0', '0.0')
        """
        if value is None or not math.isfinite(value):
            return MISSING
        text = f"{value * 100:+.{self.decimals}f}" if self.percent else ("+" if value > 0 else "") + figures(value)
        if not text.strip("+-−0.,"):
            return text.lstrip("+-−")
        return text.replace("-", "−")


def change(point: Point, baseline: Point | None) -> tuple[float | None, str]:
    """The quality of ``point`` less the baseline's, and the split that it was read on.

    That is the report split where both were measured there, else the select split.
    """
    if baseline is None or point.quality is None or baseline.quality is None:
        return None, ""
    if point.report is not None and baseline.report is not None:
        return point.report.value - baseline.report.value, "report"
    return point.quality.value - baseline.quality.value, "select"
