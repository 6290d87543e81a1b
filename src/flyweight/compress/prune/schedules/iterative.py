"""Round after round of pruning and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flyweight.core.errors import FlyweightError
from flyweight.core.step import Step
from flyweight.learn.train import Train


@dataclass(frozen=True)
class iterative:
    """``rounds`` times: prune the fraction p of what remains, then take the step ``train``.

    p = 1 − (1 − ratio)^(1/rounds), the same each round, so that the step's ratio is gone after the last. Inside a store
    each round is kept, and a killed run goes on with the round in which it stood. Raises :class:`FlyweightError` for
    less than one round. Source: Menghani 2021, arXiv 2106.08962, algorithm 1; Han et al. 2015, arXiv 1506.02626.

    >>> [round(ratio, 3) for ratio in iterative(rounds=3)(0.875)]
    [0.5, 0.75, 0.875]
    """

    rounds: int = 5
    train: Step = Train(epochs=1)  # noqa: RUF009 (frozen)

    in_training: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.rounds, int) or isinstance(self.rounds, bool) or self.rounds < 1:
            raise FlyweightError(
                f"FlyweightError: iterative got rounds={self.rounds!r}. Give a whole number, 1 or more, as in rounds=5."
            )
        if not isinstance(self.train, Step):
            raise FlyweightError(
                f"FlyweightError: iterative got train={self.train!r}. Give the step that fine-tunes, as in "
                "train=Train(epochs=2)."
            )

    def __call__(self, ratio: float) -> tuple[float, ...]:
        early = [1 - (1 - ratio) ** (index / self.rounds) for index in range(1, self.rounds)]
        return (*early, ratio)
