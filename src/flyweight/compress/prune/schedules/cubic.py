"""Fast at first, then slower and slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.compress.prune.schedules.calendar import check_calendar


@dataclass(frozen=True)
class cubic:
    """During the training that follows: s_t = s_f + (s_i − s_f)(1 − (t − t_0)/(nΔt))³.

    s_f is the step's ratio, s_i what was gone before; t_0 is ``begin`` and t_0 + nΔt ``end``, as fractions of that
    training's steps, and Δt is ``every``. Source: Zhu and Gupta 2017, arXiv 1710.01878, equation 1.

    >>> [cubic()(done) for done in (0.0, 0.5, 1.0)]
    [0.0, 0.875, 1.0]
    """

    begin: float = 0.0
    end: float = 0.75
    every: float = 0.01

    in_training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_calendar(self)

    def __call__(self, done: float) -> float:
        return 1.0 - (1.0 - done) ** 3
