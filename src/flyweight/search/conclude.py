"""The end of a search: one fair measurement of all, and the one look at the report split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from flyweight.core.atomic import read_json, write_json
from flyweight.core.errors import StoreError
from flyweight.core.footprint import Footprint
from flyweight.core.frontier import frontier
from flyweight.core.point import Point, Score
from flyweight.deploy.runtimes.open import open_artifact
from flyweight.deploy.score import score
from flyweight.search.evaluate import Bench


def conclude(bench: Bench, points: Sequence[Point], costs: Sequence[str]) -> tuple[Point, ...]:
    """Measures all finished ``points`` together in one interleaved run, then scores the frontier on the report split.

    Latencies that were taken minutes apart cannot be compared, and a frontier cannot be drawn from those of a part.
    Both results are kept: where nothing was added since, nothing is measured or read again.
    """
    known = {p.id: p for p in points}
    ready = [p for p in points if p.failure is None and p.quality is not None]
    mark = bench.store.folder / "together.json"
    told = {"points": sorted(p.id for p in ready), "threads": bench.threads, "runtime": bench.runtime}
    if _read(bench) != told:
        paths = [bench.store.folder / str(p.path) for p in ready]
        for point, measured in zip(ready, bench.footprints(paths) if paths else [], strict=True):
            merged = _merged(point.footprint, measured)
            known[point.id] = bench.ledger.keep(dataclasses.replace(point, footprint=merged))
        write_json(mark, told)
    shown = {p.id for p in frontier(known.values(), costs)} | {p.id for p in ready if p.baseline}
    for key in [p.id for p in points if p.id in shown]:
        if known[key].report is None:
            known[key] = bench.ledger.keep(dataclasses.replace(known[key], report=_report(bench, known[key])))
    return tuple(known[p.id] for p in points)


def _read(bench: Bench) -> object:
    try:
        return read_json(bench.store.folder / "together.json")
    except StoreError:
        return None


def _merged(before: Footprint, now: Footprint) -> Footprint:
    """``now``, and what was measured ``before`` where ``now`` has nothing."""
    fields = ("size_bytes", "gzip_bytes", "parameters", "macs", "peak_memory_bytes", "load_ms", "energy_mj")
    kept = {name: getattr(before, name) for name in fields if getattr(now, name) is None}
    why = {name: reason for name, reason in now.why.items() if kept.get(name) is None}
    return dataclasses.replace(now, **kept, why=why, detail={**before.detail, **now.detail})


def _report(bench: Bench, point: Point) -> Score:
    session = open_artifact(bench.store.folder / str(point.path), bench.runtime, bench.threads)
    return score(session, bench.task, "report")
