"""The points of a run on disk: one JSON file a candidate, written whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flyweight.core.atomic import read_json, write_json
from flyweight.core.errors import StoreError
from flyweight.core.point import Point


@dataclass(frozen=True)
class Ledger:
    """Points under ``folder/points``, each named by its id; safe against kills, and shared by several processes."""

    folder: Path

    def get(self, key: str) -> Point | None:
        """The point kept under ``key``, or None where there is none, or its artifact is gone."""
        path = self._path(key)
        if not path.exists():
            return None
        point = self._read(path)
        gone = point.failure is None and (point.path is None or not (self.folder / point.path).exists())
        return None if gone else point

    def keep(self, point: Point) -> Point:
        """Writes ``point``, and returns it."""
        write_json(self._path(point.id), point.to_json())
        return point

    def all(self) -> tuple[Point, ...]:
        """Every point that is kept, the baseline first, then by label."""
        names = sorted(path.stem for path in (self.folder / "points").glob("*.json") if path.name[0] != ".")
        found = [point for point in map(self.get, names) if point is not None]
        return tuple(sorted(found, key=lambda p: (not p.baseline, p.label, p.id)))

    def _path(self, key: str) -> Path:
        return self.folder / "points" / f"{key}.json"

    def _read(self, path: Path) -> Point:
        try:
            return Point.from_json(read_json(path))
        except (TypeError, KeyError, AttributeError) as error:
            raise StoreError(
                f"StoreError: {path} holds no point ({error}). Delete it; the same command makes it again from what "
                "was kept."
            ) from error
