"""A candidate: a recipe worth trying, and how a strategy proposes one after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flyweight.core.budget import Budget
from flyweight.core.frontier import DEFAULT_COSTS
from flyweight.core.key import recipe_keys
from flyweight.core.point import Point
from flyweight.core.step import Recipe, Step
from flyweight.core.task import Task
from flyweight.search.sketch import Sketch


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A recipe with a short ``label`` for people; the ``baseline`` is what the others are compared with.

    One with a ``sketch`` is only measured, untrained (:func:`~flyweight.search.sketch.sketched`).
    """

    label: str
    recipe: Recipe
    baseline: bool = False
    sketch: Sketch | None = None

    def key(self, task: Task) -> str:
        """The key of the finished recipe on ``task``: the id of the point that it becomes."""
        return recipe_keys(self.recipe, task.model, task)[-1]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a strategy may know of the run: its ``folder``, ``budgets`` and ``max_drop``, and the baseline's point."""

    folder: Path
    budgets: tuple[Budget, ...] = ()
    max_drop: float | None = None
    baseline: Point | None = None

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that count: bytes and latency, and every field that a budget names."""
        return tuple(dict.fromkeys((*DEFAULT_COSTS, *(b.field for b in self.budgets))))

    @property
    def floor(self) -> float | None:
        """The least quality that ``max_drop`` allows; None where it, or the baseline, is not known."""
        if self.max_drop is None or self.baseline is None or self.baseline.quality is None:
            return None
        return self.baseline.quality.value - self.max_drop


class Strategy(Protocol):
    """Proposes candidates, best first: a frozen callable dataclass, or any function.

    A strategy that learns from results is a generator: ``point = yield candidate``. One that does not may return
    any iterable of candidates. Where it has a method ``check(task, terms)``, that is called before anything is trained,
    and raises what can be known to be wrong.
    """

    def __call__(self, task: Task, terms: Terms) -> Iterable[Candidate] | Generator[Candidate, Point, None]: ...


def plain(task: Task, seed: int = 0) -> Candidate:
    """The baseline of ``task``: its model trained by its own ``train``, or as it came where that is None."""
    recipe = () if task.train is None else (seeded(task.train, seed),)
    return Candidate(label="baseline", recipe=recipe, baseline=True)


def seeded(step: Step, seed: int) -> Step:
    """``step`` with its own ``seed`` moved by ``seed``; a step that has none stays as it is."""
    own = getattr(step, "seed", None)
    if not seed or not isinstance(own, int) or not dataclasses.is_dataclass(step):
        return step
    return dataclasses.replace(step, seed=own + seed)
