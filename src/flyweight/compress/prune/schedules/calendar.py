"""The steps of a training at which a schedule has units go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flyweight.core.errors import FlyweightError


@dataclass(frozen=True)
class Calendar:
    """Updates at ``start`` + ``gap``, ``start`` + 2·``gap``, …, the last one at ``stop``; all are optimizer steps.

    >>> calendar = Calendar.of(begin=0.0, end=0.75, every=0.25, total=10)
    >>> [step for step in range(1, 11) if calendar.due(step)], calendar.done(4), calendar.done(8)
    ([2, 4, 6, 8], 0.5, 1.0)
    """

    start: int
    stop: int
    gap: int

    @classmethod
    def of(cls, begin: float, end: float, every: float, total: int) -> Calendar:
        """That of a training of ``total`` steps: at least one update, and never two at one step."""
        start = min(round(begin * total), total - 1)
        return cls(start, max(start + 1, round(end * total)), max(1, round(every * total)))

    @property
    def updates(self) -> int:
        """How many there are."""
        return -(-(self.stop - self.start) // self.gap)

    def due(self, step: int) -> bool:
        """Whether ``step`` is one of them."""
        return self.start < step <= self.stop and ((step - self.start) % self.gap == 0 or step == self.stop)

    def done(self, step: int) -> float:
        """The part of all updates that is done after that of ``step``; 1 at the last."""
        return 1.0 if step >= self.stop else max(0, step - self.start) // self.gap / self.updates


def check_calendar(schedule: Any) -> None:
    """Raises :class:`FlyweightError` unless 0 ≤ begin < end ≤ 1 and 0 < every ≤ 1."""
    name = type(schedule).__name__
    if not 0 <= schedule.begin < schedule.end <= 1:
        raise FlyweightError(
            f"FlyweightError: {name} got begin={schedule.begin!r} and end={schedule.end!r}. Give fractions of the "
            "training that follows, 0 ≤ begin < end ≤ 1, as in begin=0.0, end=0.75."
        )
    if not 0 < schedule.every <= 1:
        raise FlyweightError(
            f"FlyweightError: {name} got every={schedule.every!r}. Give the fraction of the training's steps from one "
            "update to the next, above 0 and up to 1, as in every=0.01."
        )
