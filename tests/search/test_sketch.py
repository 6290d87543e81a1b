"""A candidate measured before it is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from arms import Refuse
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.one_shot import one_shot
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.movement import movement
from flyweight.core.footprint import Footprint
from flyweight.core.point import Point
from flyweight.core.store import Store
from flyweight.core.task import Task
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate
from flyweight.search.evaluate import Evaluator
from flyweight.search.sketch import Sketch, at_once, sketched, untrained

CALLS: list[dict[str, Any]] = []


def counted(paths: list[Path], **options: Any) -> list[Footprint]:
    CALLS.append(options)
    told = {"threads": options["threads"]}
    return [Footprint(size_bytes=path.stat().st_size, detail=told) for path in paths]


@pytest.fixture
def evaluator(fresh_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    CALLS.clear()
    monkeypatch.setattr("flyweight.search.evaluate.footprints", counted)
    return Evaluator(fresh_task, Store(tmp_path / "out"), "onnxruntime")


def test_it_is_measured_once_for_each_depth_and_look(evaluator: Evaluator) -> None:
    task = evaluator.task
    assert task.train is not None
    plain = Candidate(label="half", recipe=(Resize(0.5), task.train))

    def look(**fields: Any) -> Any:
        return sketched(evaluator, dataclasses.replace(plain, sketch=Sketch(earnest=0, **fields)))

    point = look()
    assert point.failure == f"not trained: measured at size_bytes {point.footprint.size_bytes:,}"
    assert point.quality is None
    assert point.id == plain.key(task)
    assert point.footprint.size_bytes > 0
    assert evaluator.ledger.get(point.id) is not None
    assert look() == point
    assert [c["upto"] for c in CALLS] == ["counts"]
    look(upto="latency", seconds=0.1)
    look(upto="counts")
    look(upto="latency")
    assert [(c["upto"], c["seconds"]) for c in CALLS] == [("counts", 0.3), ("latency", 0.1)]
    look(upto="latency", again=1)
    look(upto="latency", again=1)
    assert len(CALLS) == 3
    assert not list((evaluator.store.folder / "steps").glob("*.json")), "nothing was trained"
    # In earnest it is made, and then told as it is.
    made = evaluator(plain)
    assert made.failure is None
    assert look(upto="memory", again=5) == made


def test_what_fails_is_told_as_it_is(evaluator: Evaluator) -> None:
    for accident, said in ((False, "UnsupportedError: Refuse can't do layer 'head'."), (True, "ZeroDivisionError: by")):
        candidate = Candidate(label="no", recipe=(Refuse(accident),), sketch=Sketch(earnest=0))
        assert str(sketched(evaluator, candidate).failure).startswith(said)


def test_what_was_left_out_before_or_failed_by_accident_is_looked_at_again(evaluator: Evaluator) -> None:
    """A run with another budget of bytes may have skipped it: that says nothing of this one."""
    candidate = Candidate(label="half", recipe=(Resize(0.5),), sketch=Sketch(earnest=0))
    for failure in ("skipped: 3 KB untrained exceeds size_bytes<=1", "MissingExtraError: pip install it"):
        evaluator.ledger.keep(Point(id=candidate.key(evaluator.task), label="half", failure=failure))
        assert (sketched(evaluator, candidate).footprint.size_bytes or 0) > 0


def test_times_on_other_threads_are_not_taken_for_these(evaluator: Evaluator) -> None:
    candidate = Candidate(label="half", recipe=(Resize(0.5),), sketch=Sketch(earnest=0, upto="latency"))
    sketched(evaluator, candidate)
    sketched(dataclasses.replace(evaluator, threads=2), candidate)
    sketched(evaluator, dataclasses.replace(candidate, sketch=Sketch(earnest=0)))
    assert [c["threads"] for c in CALLS] == [1, 2]


def test_pruning_in_training_is_done_at_once() -> None:
    step = Prune(0.5, score=movement(), schedule=cubic())
    assert at_once(step) == Prune(0.5, score=magnitude(), schedule=one_shot())
    assert at_once(Prune(0.5, schedule=cubic(end=0.5))) == Prune(0.5)
    other = Resize(0.5)
    assert at_once(other) is other


def test_the_untrained_model_has_the_structure_of_the_trained_one(fresh_task: Task, tmp_path: Path) -> None:
    train = fresh_task.train
    assert train is not None
    candidate = Candidate(label="x", recipe=(train, Prune(0.5, schedule=cubic()), train))
    evaluator = Evaluator(fresh_task, Store(tmp_path / "out"), "onnxruntime")
    model = untrained(evaluator, candidate, earnest=1)
    assert not model.training
    zeros = sum(int((m.weight == 0).sum()) for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear))
    whole = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear))
    first = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert zeros == pytest.approx(0.5 * (whole - first.weight.numel()), abs=1)
    assert len(list((evaluator.store.folder / "steps").glob("*.json"))) == 1, "the training before it, in earnest"
