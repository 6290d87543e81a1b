"""The measurement at the end of a search, where time is short and where it is not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from flyweight.core.footprint import Footprint
from flyweight.core.point import Point, Score
from flyweight.core.store import Store
from flyweight.core.task import Task
from flyweight.search.conclude import conclude
from flyweight.search.evaluate import Evaluator

SCORE = Score(value=0.5, low=0.4, high=0.6, examples=10)


@pytest.mark.parametrize(("within", "seconds"), [(None, 1.0), (60.0, 1.0), (2.0, 0.5), (0.01, 0.1)])
def test_the_time_is_shared_among_the_files(
    tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: float | None, seconds: float
) -> None:
    given: list[dict[str, Any]] = []

    def noted(paths: list[Path], **options: Any) -> list[Footprint]:
        given.append(options)
        return [Footprint(size_bytes=1 + i, latency_ms=1.0, detail={"threads": 1}) for i, _ in enumerate(paths)]

    monkeypatch.setattr("flyweight.search.evaluate.footprints", noted)
    evaluator = Evaluator(tiny_task, Store(tmp_path / "out"), "onnxruntime", meter="mine:joules")
    (evaluator.store.folder / "models").mkdir(exist_ok=True)
    points = []
    for name in "abcd":
        (evaluator.store.folder / "models" / name).write_bytes(b"x")
        points.append(
            Point(id=name, label=name, path=f"models/{name}", quality=SCORE, report=SCORE, baseline=name == "a")
        )
    conclude(evaluator, points, ("size_bytes", "latency_ms"), within)
    assert [(g["seconds"], g["meter"]) for g in given] == [(seconds, "mine:joules")]


def test_where_time_is_over_nothing_more_is_begun(
    tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline alone is read on the report split; memory stays what the search found; the next call reads on."""

    def timed(paths: list[Path], **options: Any) -> list[Footprint]:
        assert options["within"] is None or options["within"] <= 0.02
        return [Footprint(size_bytes=1 + i, latency_ms=1.0, detail={"threads": 1}) for i, _ in enumerate(paths)]

    read: list[str] = []

    def scored(evaluator: Evaluator, point: Point) -> Score:
        read.append(point.label)
        time.sleep(0.03)
        return SCORE

    monkeypatch.setattr("flyweight.search.evaluate.footprints", timed)
    monkeypatch.setattr("flyweight.search.conclude._report", scored)
    evaluator = Evaluator(tiny_task, Store(tmp_path / "out"), "onnxruntime")
    (evaluator.store.folder / "models").mkdir(exist_ok=True)
    points = []
    for i, name in enumerate("abc"):
        (evaluator.store.folder / "models" / name).write_bytes(b"x")
        better = Score(value=0.5 + i / 10, low=0.4, high=0.9, examples=10)
        before = Footprint(peak_memory_bytes=7)
        points.append(
            Point(id=name, label=name, path=f"models/{name}", quality=better, footprint=before, baseline=name == "a")
        )
    costs = ("size_bytes", "latency_ms")
    found = conclude(evaluator, points, costs, 0.01)
    assert read == ["a"]
    assert {p.footprint.peak_memory_bytes for p in found} == {7}
    assert [p.report is None for p in found] == [False, True, True]
    found = conclude(evaluator, found, costs)
    assert read == ["a", "b", "c"]
    assert all(p.report for p in found)
