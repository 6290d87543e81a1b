"""The least pruning whose file, measured in its runtime, keeps the budgets."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flyweight.core.budget import Budget
from flyweight.core.errors import BudgetError, FlyweightError
from flyweight.core.point import Point
from flyweight.core.step import Recipe
from flyweight.core.takes import takes
from flyweight.core.task import Task
from flyweight.measure.footprint import Depth
from flyweight.search.candidate import Candidate, Terms
from flyweight.search.sketch import Sketch

EXACT = ("size_bytes", "gzip_bytes", "parameters", "macs")
"""What is counted on the file, and does not differ from one look to the next."""

_TIMES = ("latency_ms", "latency_iqr_ms", "latency_p90_ms")

_LONGER = 3.0
"""How much longer than a look the chosen ratio is timed, before it is trained for."""


class Template(Protocol):
    """``(ratio, task) -> recipe``: any function, or a frozen dataclass such as :class:`~flyweight.search.chain.chain`.

    Recipes of two ratios share their first steps, those before the first that knows the ratio. An attribute
    ``label``, ``(ratio, task) -> text``, names them for people.
    """

    def __call__(self, ratio: float, task: Task) -> Recipe: ...


@dataclass(frozen=True)
class until:
    """Finds the least ratio of ``recipe`` whose file keeps all budgets of the run, and trains for that ratio alone.

    ``recipe`` maps a ratio to a recipe, see :class:`Template`; ratios from ``least`` to ``most`` are tried in
    multiples of ``step``, by bisection: what a file costs falls as the ratio rises. Each look exports the recipe
    without its training and measures the file in the runtime, for structure does not hang on training: first what is
    counted on the file (bytes, parameters, MACs), then, from the ratio on that this asks for, what is timed.

    Times are noisy, and the machine's pace changes. So a look is timed in turns with the baseline, and its latency is
    taken as the baseline's, by the median of all looks, over the ``speedup`` of that look. It has to be ``slack`` below
    the limit; the ratio that is chosen is timed longer once more, and half of ``slack`` will then do. Where the trained
    file breaks a budget all the same, the next ratio is trained, up to ``tries`` ratios.

    Every look is a row of the run, kept and never repeated. Where even ``most`` breaks a budget nothing is trained, and
    the error of ``optimize`` tells what came closest.
    """

    recipe: Template
    least: float = 0.0
    most: float = 0.95
    step: float = 1 / 32
    slack: float = 0.03
    tries: int = 3

    def __post_init__(self) -> None:
        if not takes(self.recipe, 2):
            raise FlyweightError(
                f"FlyweightError: until got recipe={self.recipe!r}. Give chain(), or a function of a ratio and a task "
                "that gives a recipe, as in lambda ratio, task: (task.train, Prune(ratio, structure=channel()), …)."
            )
        if not 0 <= self.least < self.most < 1:
            raise FlyweightError(
                f"FlyweightError: until got least={self.least!r} and most={self.most!r}. Give fractions to remove, "
                "0 ≤ least < most < 1."
            )
        if not 0 < self.step <= self.most - self.least or self.tries < 1 or not 0 <= self.slack < 1:
            raise FlyweightError(
                f"FlyweightError: until got step={self.step!r}, slack={self.slack!r} and tries={self.tries!r}. Give a "
                "step above 0 and at most the range of ratios, a slack from 0 to below 1, and 1 try or more."
            )

    def check(self, task: Task, terms: Terms) -> None:
        """Raises :class:`BudgetError` where there is no budget to prune to."""
        if not terms.budgets:
            raise BudgetError(
                'BudgetError: until prunes to a budget, and none was given. Give optimize(budgets=["latency_ms<=2"]), '
                "or --budget; or use pruned(ratios=(0.3, 0.5)) for the frontier of some ratios."
            )

    def __call__(self, task: Task, terms: Terms) -> Generator[Candidate, Point, None]:
        """Looks at ratios, then the candidate to train."""
        self.check(task, terms)
        search = _Search(self, task, terms.budgets)
        found = yield from search.find()
        for place in range(found, min(found + self.tries, search.last + 1)):
            point = yield search.candidate(place)
            if all(b.excess(point) == 0 for b in terms.budgets):
                return

    def ratio(self, place: int) -> float:
        """The ratio at a ``place`` of the grid."""
        return round(min(self.most, self.least + place * self.step), 6)


@dataclass
class _Search:
    """One bisection: what was seen at which place."""

    how: until
    task: Task
    budgets: Sequence[Budget]
    seen: dict[tuple[int, Depth, int], Point] = field(default_factory=dict)
    pace: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The last place is `most`, even where the steps do not end there.
        self.last = int((self.how.most - self.how.least) / self.how.step - 1e-9) + 1
        ends = [self.how.recipe(self.how.ratio(place), self.task) for place in (0, self.last)]
        alike = (a == b for a, b in zip(*ends, strict=False))
        self.earnest = next((i for i, same in enumerate(alike) if not same), min(map(len, ends)))
        timed = [b.field for b in self.budgets if b.field not in EXACT]
        self.depth: Depth | None = None
        if timed:
            self.depth = "latency" if all(name in _TIMES for name in timed) else "memory"

    def candidate(self, place: int, sketch: Sketch | None = None) -> Candidate:
        """The recipe at ``place``, in earnest or as a sketch."""
        ratio = self.how.ratio(place)
        told: Any = getattr(self.how.recipe, "label", None)
        label = told(ratio, self.task) if callable(told) else f"ratio {ratio:.4g}"
        return Candidate(label=label, recipe=self.how.recipe(ratio, self.task), sketch=sketch)

    def find(self) -> Generator[Candidate, Point, int]:
        """The place to train at; one beyond the last where no ratio keeps the budgets."""
        first = yield from self._least(0, "counts")
        if first > self.last or self.depth is None:
            return first
        place = yield from self._least(first, self.depth)
        while place <= self.last and not (yield from self._keeps(place, self.depth, confirm=True)):
            place += 1
        return place

    def _least(self, low: int, depth: Depth) -> Generator[Candidate, Point, int]:
        """The least place from ``low`` on that keeps the budgets which ``depth`` measures, or one beyond the last."""
        if (yield from self._keeps(low, depth)):
            return low
        if low == self.last or not (yield from self._keeps(self.last, depth)):
            return self.last + 1
        high = self.last
        while high - low > 1:
            middle = (low + high) // 2
            if (yield from self._keeps(middle, depth)):
                high = middle
            else:
                low = middle
        return high

    def _keeps(self, place: int, depth: Depth, confirm: bool = False) -> Generator[Candidate, Point, bool]:
        again = int(confirm)
        if (place, depth, again) not in self.seen:
            sketch = Sketch(earnest=self.earnest, upto=depth, again=again)
            if confirm:
                sketch = Sketch(earnest=self.earnest, upto=depth, again=again, seconds=_LONGER * sketch.seconds)
            point = yield self.candidate(place, sketch)
            self.seen[place, depth, again] = point
            latency, speedup = point.value("latency_ms"), point.footprint.speedup
            if latency is not None and speedup is not None:
                self.pace.append(latency * speedup)
        point = self.seen[place, depth, again]
        slack = self.how.slack / (2 if confirm else 1)
        return all(self._kept(point, budget, slack) for budget in self.budgets if depth != "counts" or _exact(budget))

    def _kept(self, point: Point, budget: Budget, slack: float) -> bool:
        value = point.value(budget.field)
        if value is None:
            return False
        if _exact(budget):
            return value <= budget.limit
        if budget.field == "latency_ms" and point.footprint.speedup:
            value = statistics.median(self.pace) / point.footprint.speedup
        return value <= (1 - slack) * budget.limit


def _exact(budget: Budget) -> bool:
    return budget.field in EXACT
