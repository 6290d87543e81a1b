"""At one rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.compress.prune.schedules.calendar import check_calendar


@dataclass(frozen=True)
class constant:
    """During the training that follows: at each update the same fraction of the whole goes.

    Updates are ``every`` fraction of that training's steps apart, after ``begin`` and up to ``end``, which are
    fractions of them too.

    >>> [constant()(done) for done in (0.0, 0.5, 1.0)]
    [0.0, 0.5, 1.0]
    """

    begin: float = 0.0
    end: float = 0.75
    every: float = 0.01

    in_training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_calendar(self)

    def __call__(self, done: float) -> float:
        return done
