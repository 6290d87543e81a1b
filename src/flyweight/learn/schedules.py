"""Learning-rate schedules: functions of the fraction of training that is done, giving the factor of the top rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flyweight.core.errors import FlyweightError


def constant(fraction: float) -> float:
    """1 all along."""
    return 1.0


def cosine(fraction: float) -> float:
    """``(1 + cos(π f)) / 2``: from 1 at the start to 0 at the end.

    Source: Loshchilov and Hutter, 2017, arXiv:1608.03983, eq. 5, without restarts.

    >>> [round(cosine(f), 2) for f in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return 0.5 * (1.0 + math.cos(math.pi * fraction))


@dataclass(frozen=True)
class one_cycle:
    """Up from ``start`` to 1 over the first ``rise`` of training, then down to ``end``, both along a cosine.

    Source: Smith and Topin, 2018, arXiv:1708.07120; the cosine legs as in torch's ``OneCycleLR``.
    """

    rise: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    def __post_init__(self) -> None:
        if not 0 < self.rise < 1:
            raise FlyweightError(
                f"FlyweightError: one_cycle got rise={self.rise!r}. Give the part of training spent rising, "
                "above 0 and below 1, as in rise=0.3."
            )
        for name in ("start", "end"):
            if not 0 <= getattr(self, name) <= 1:
                raise FlyweightError(
                    f"FlyweightError: one_cycle got {name}={getattr(self, name)!r}. "
                    "Give a factor of the top rate, 0 to 1."
                )

    def __call__(self, fraction: float) -> float:
        if fraction < self.rise:
            return 1.0 + (self.start - 1.0) * cosine(fraction / self.rise)
        return self.end + (1.0 - self.end) * cosine((fraction - self.rise) / (1.0 - self.rise))
