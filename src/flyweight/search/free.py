"""The free search: Optuna over all steps and settings, after quality and every cost at once."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from flyweight.core.errors import FlyweightError, unknown_name
from flyweight.core.point import Point
from flyweight.core.task import Task
from flyweight.search.candidate import Candidate, Terms
from flyweight.search.space import Space
from flyweight.search.study import SAMPLERS, Study


@dataclass(frozen=True)
class free:
    """A multi-objective search for the frontier itself; ``optimize`` runs it in ``workers`` fresh processes.

    ``trials`` counts all that the folder holds, so the same call goes on where it stood. ``sampler`` is ``"tpe"``
    (Bergstra et al. 2011; multi-objective: Ozaki et al. 2020), ``"nsga2"`` (Deb et al. 2002) or ``"random"``.
    Objectives are the quality, bytes, latency, and every field that a budget names; budgets and ``max_drop`` are
    constraints.
    Raises :class:`FlyweightError` for fewer than one trial or worker.
    """

    trials: int = 40
    sampler: str = "tpe"
    workers: int = 1
    seed: int = 0
    space: Space = field(default_factory=Space)

    def __post_init__(self) -> None:
        for name in ("trials", "workers"):
            if getattr(self, name) < 1:
                raise FlyweightError(f"FlyweightError: free got {name}={getattr(self, name)}. Give 1 or more.")
        if self.sampler not in SAMPLERS:
            raise unknown_name("sampler", self.sampler, SAMPLERS)

    def __call__(self, task: Task, terms: Terms) -> Generator[Candidate, Point, None]:
        """Candidates, each chosen in the light of the points before it."""
        study = Study(terms, self.sampler, self.seed)
        study.recover()
        while (trial := study.ask(self.trials)) is not None:
            try:
                candidate = self.space(trial, task)
            except FlyweightError as error:
                study.fail(trial, str(error))
                continue
            try:
                point = yield candidate
            except GeneratorExit:
                study.release(trial)
                raise
            study.tell(trial, point)
