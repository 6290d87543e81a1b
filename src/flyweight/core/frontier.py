"""The Pareto frontier: the points that no other beats in quality and in every cost."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyweight.core.atomic import read_json
from flyweight.core.budget import Budget
from flyweight.core.errors import BudgetError, FlyweightError, StoreError, unknown_name
from flyweight.core.footprint import COSTS
from flyweight.core.point import Point
from flyweight.core.verdict import verdict

DEFAULT_COSTS = ("size_bytes", "latency_ms")


def frontier(points: Iterable[Point], costs: Sequence[str] = DEFAULT_COSTS) -> list[Point]:
    """The points that no other dominates, best quality first.

    One point dominates another when its quality is no lower, none of ``costs`` is higher, and something is strictly
    better. A cost that was not measured counts as infinite. Equal points keep the first. Failed candidates never stand.
    """
    for cost in costs:
        if cost not in COSTS:
            raise unknown_name("measured field", cost, COSTS)
    ready = [p for p in points if p.failure is None and p.quality is not None]
    vectors = [_vector(p, costs) for p in ready]
    kept = [
        p
        for i, p in enumerate(ready)
        if not any(
            all(a <= b for a, b in zip(vectors[j], vectors[i], strict=True)) and (vectors[j] != vectors[i] or j < i)
            for j in range(len(ready))
            if j != i
        )
    ]
    return sorted(kept, key=lambda p: _vector(p, costs))


def _vector(point: Point, costs: Sequence[str]) -> tuple[float, ...]:
    values = [point.value(c) for c in costs]
    assert point.quality is not None
    return (-point.quality.value, *(float("inf") if v is None else v for v in values))


@dataclass(frozen=True, eq=False)
class Frontier:
    """Every point of a run, the dominated and the failed too, and which of them stand on the frontier.

    ``folder`` is where the artifacts lie; ``about`` tells the task, the host and the versions; ``costs`` are those
    that count. Iterating gives the points on the frontier, best quality first.
    """

    points: tuple[Point, ...]
    folder: Path | None = None
    costs: tuple[str, ...] = DEFAULT_COSTS
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def optimal(self) -> tuple[Point, ...]:
        """The points on the frontier, best quality first."""
        return tuple(frontier(self.points, self.costs))

    @property
    def baseline(self) -> Point | None:
        """The model as it came, exported in float: what the others are compared with."""
        return next((p for p in self.points if p.baseline and p.failure is None), None)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.optimal)

    def __len__(self) -> int:
        return len(self.optimal)

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets that the run was given."""
        return tuple(map(Budget.parse, self.about.get("budgets") or ()))

    def asked(self) -> tuple[Point | None, str]:
        """The point that the run was asked for, or None and why there is none: what :meth:`best` would raise.

        The reason is empty where the run was given neither budgets nor ``max_drop``. For faces, which show any run.
        """
        try:
            return verdict(self.points, self.budgets, self.about.get("max_drop")), ""
        except (FlyweightError, TypeError) as error:
            return None, str(error)

    def best(self, **limits: float) -> Point:
        """The best quality among the points that keep every limit, as in ``best(size_bytes=200_000, latency_ms=2)``.

        Without limits, the point that the run was asked for, which the command line says to take: the best quality
        within the run's budgets or, where it was given a ``max_drop``, the smallest file within them that loses no
        more; of a run that was given neither, the best quality of all. A latency that the search measured within the
        limit counts as within it where only the machine was slower in the last measuring
        (:class:`~flyweight.core.pace.Pace`).

        Raises :class:`BudgetError`, telling what came closest, where no point does.
        """
        if limits:
            taken = verdict(self.points, [Budget(name, limit) for name, limit in limits.items()])
        else:
            try:
                taken = verdict(self.points, self.budgets, self.about.get("max_drop"))
            except BudgetError as error:
                raise BudgetError(
                    f"{error} So the run was asked; for other limits name them, as in best(size_bytes=200_000)."
                ) from None
        best = taken or next(iter(self), None)
        if best is None:
            raise BudgetError("BudgetError: no candidate was finished, so none is the best. Search longer.")
        return best

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: all that the report is made from."""
        return {
            "about": dict(self.about),
            "costs": list(self.costs),
            "points": [p.to_json() for p in self.points],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], folder: Path | None = None) -> Frontier:
        """What :meth:`to_json` gave."""
        points = tuple(Point.from_json(p) for p in value["points"])
        return cls(points, folder, tuple(value.get("costs", DEFAULT_COSTS)), value.get("about", {}))

    @classmethod
    def load(cls, folder: Path | str) -> Frontier:
        """The frontier that a run left in ``folder``; raises :class:`StoreError` where there is none."""
        path = Path(folder) / "frontier.json"
        if not path.exists():
            raise StoreError(
                f"StoreError: {folder} holds no frontier.json. Give the folder that `flyweight optimize --out` wrote."
            )
        return cls.from_json(read_json(path), Path(folder))

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, one row a point, units in the column names (needs ``pip install pandas``)."""
        return _face("table").dataframe(self)

    def plot(self, cost: str = "size_bytes") -> Any:
        """A plotly figure of quality against ``cost``."""
        return _face("plot").plot(self, cost)

    def report(self, path: Path | str) -> Path:
        """Writes the report, one HTML file that needs nothing else, and returns its path."""
        result: Path = _face("html").write(self, Path(path))
        return result

    def __repr__(self) -> str:
        return str(_face("table").text(self))

    def _repr_html_(self) -> str:
        return str(_face("html").fragment(self))


def _face(name: str) -> Any:
    # The one door upward: the faces stand in report/, which reads points, and are opened by name when asked for.
    return importlib.import_module(f"flyweight.report.{name}")
