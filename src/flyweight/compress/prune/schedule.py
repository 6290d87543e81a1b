"""When units go: at once, before any training that follows, or bit by bit during it."""

from __future__ import annotations

from typing import Protocol

from flyweight.core.step import Step


class AtOnce(Protocol):
    """A schedule that is over when the step is: one or more rounds; a frozen dataclass."""

    @property
    def in_training(self) -> bool:
        """False."""

    @property
    def train(self) -> Step | None:
        """What follows each round; None: nothing."""

    def __call__(self, ratio: float) -> tuple[float, ...]:
        """The fraction of all that is gone after each round, the last of them ``ratio``."""


class InTraining(Protocol):
    """A schedule of the training that follows the step; a frozen dataclass.

    ``begin`` and ``end`` are fractions of that training's steps, and every ``every`` of them, a fraction too, units go.
    """

    @property
    def in_training(self) -> bool:
        """True."""

    @property
    def begin(self) -> float:
        """Where it begins."""

    @property
    def end(self) -> float:
        """Where the last units go."""

    @property
    def every(self) -> float:
        """From one update to the next, as a fraction of all steps; an update at every step, at the most."""

    def __call__(self, done: float) -> float:
        """The part of the way from the first ratio to the last that is gone when ``done`` of all updates are, 0 to 1.

        It rises, and is 1 at 1."""


Schedule = AtOnce | InTraining
