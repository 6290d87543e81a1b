"""The end of a search: one fair measurement of all, and the one look at the report split."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from flyweight.core.atomic import read_json, write_json
from flyweight.core.errors import StoreError
from flyweight.core.footprint import Footprint
from flyweight.core.frontier import frontier
from flyweight.core.pace import Pace
from flyweight.core.point import Point, Score
from flyweight.deploy.runtimes.open import open_artifact
from flyweight.deploy.score import score
from flyweight.search.evaluate import Evaluator

_EXACT = ("size_bytes", "gzip_bytes", "parameters", "macs")

_THOROUGH, _HASTY = 1.0, 0.1
"""Seconds of timing a file, where the search itself took a part of that; and the least, where time is short."""

_NOISE = 1.1
"""By how much another point must be better in a measured cost before this one is out for certain."""


def conclude(
    evaluator: Evaluator, points: Sequence[Point], costs: Sequence[str], within: float | None = None
) -> tuple[Point, ...]:
    """Measures ``points`` that may stand on the frontier together, interleaved; then scores it on the report split.

    Latencies that were taken minutes apart cannot be compared. Both results are kept: where nothing was added
    since, nothing is measured or read again. ``within`` are the seconds that timing may take, all files together: each
    then gets its share of them, a tenth of a second at least. As long again may all the rest take: memory is then that
    of the search, and points that the report split was not read for have no report score; the same call reads it.
    """
    end = None if within is None else time.monotonic() + 2 * within
    known = {p.id: p for p in points}
    finished = [p.id for p in points if p.failure is None and p.quality is not None]
    base = {p.id for p in points if p.baseline}
    mark = evaluator.store.folder / "together.json"
    told = {
        "points": sorted(finished),
        "costs": list(costs),
        "threads": evaluator.threads,
        "runtime": evaluator.runtime,
    }
    if evaluator.meter is not None:
        told["meter"] = evaluator.meter
    if _read(mark) != told:
        done: set[str] = set()
        stale = {key for key in finished if known[key].footprint.detail.get("threads") != evaluator.threads}
        wanted = stale | base | {key for key in finished if _contends(known[key], [known[k] for k in finished], costs)}
        # The machine may be slower now than in the search, so what stayed out then may come in: until none does.
        while not wanted <= done:
            done |= wanted
            measured = _together(evaluator, [known[key] for key in finished if key in done], within, end)
            known |= {p.id: p for p in measured}
            wanted = {p.id for p in frontier(known.values(), costs)}
            if _over(end):
                break
        if wanted <= done:
            write_json(mark, told)
    shown = base | {p.id for p in frontier(known.values(), costs)}
    longest = 0.0
    for key in (p.id for p in points if p.id in shown and p.failure is None):
        if known[key].report is not None or (key not in base and _over(end, longest)):
            continue
        start = time.monotonic()
        known[key] = evaluator.ledger.keep(dataclasses.replace(known[key], report=_report(evaluator, known[key])))
        longest = max(longest, time.monotonic() - start)
    return tuple(known[p.id] for p in points)


def _over(end: float | None, more: float = 0.0) -> bool:
    """Whether the time is over, or would be after ``more`` seconds."""
    return end is not None and time.monotonic() + more >= end


def _together(evaluator: Evaluator, points: Sequence[Point], within: float | None, end: float | None) -> list[Point]:
    share = _THOROUGH if within is None else min(_THOROUGH, max(_HASTY, within / max(1, len(points))))
    left = None if end is None else end - time.monotonic()
    paths = [evaluator.store.folder / str(p.path) for p in points]
    found = evaluator.footprints(paths, share, within=left) if points else []
    merged = [dataclasses.replace(p, footprint=_merged(p.footprint, f)) for p, f in zip(points, found, strict=True)]
    return [evaluator.ledger.keep(point) for point in merged]


def _contends(point: Point, others: Sequence[Point], costs: Sequence[str]) -> bool:
    """Whether ``point`` may stand on the frontier when costs are measured again; bytes and counts do not change."""

    def beaten(other: Point, cost: str) -> bool:
        mine, its = point.value(cost), other.value(cost)
        if mine is None or its is None:
            return mine is None
        return its * (1.0 if cost in _EXACT else _NOISE) <= mine

    return not any(
        other.id != point.id
        and (other.value("quality") or 0.0) > (point.value("quality") or 0.0)
        and all(beaten(other, cost) for cost in costs)
        for other in others
    )


def _read(mark: Path) -> object:
    try:
        return read_json(mark) if mark.exists() else None
    except StoreError:  # it only says that the work was done: without it, it is done again
        return None


def _merged(before: Footprint, now: Footprint) -> Footprint:
    """``now``, what was measured ``before`` where ``now`` has nothing, and the search's times, to compare with."""
    fields = ("size_bytes", "gzip_bytes", "parameters", "macs", "peak_memory_bytes", "load_ms", "energy_mj")
    kept = {name: getattr(before, name) for name in fields if getattr(now, name) is None}
    why = {name: reason for name, reason in now.why.items() if kept.get(name) is None}
    whole = dataclasses.replace(now, **kept, why=why, detail={**before.detail, **now.detail})
    return Pace.kept(before, whole)


def _report(evaluator: Evaluator, point: Point) -> Score:
    session = open_artifact(evaluator.store.folder / str(point.path), evaluator.runtime, evaluator.threads)
    return score(session, evaluator.task, "report")
