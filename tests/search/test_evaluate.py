"""A point on the sparse kernels is one of its own, and has the plain file beside it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.core.artifact import Artifact
from flyweight.core.errors import UnknownNameError
from flyweight.core.store import Store
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.measure.footprint import footprints
from flyweight.search import evaluate as evaluating
from flyweight.search import optimize as searching
from flyweight.search.candidate import Candidate, plain
from flyweight.search.evaluate import Evaluator
from flyweight.search.optimize import optimize
from flyweight.search.sketch import Sketch, sketched

PRUNED = Candidate(label="blocks", recipe=(Prune(0.8, structure=block(4, 1)),))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the exporter was told of kernels, each time; models with zeros are said to need the library."""
    told: list[str] = []

    def export(model: Any, task: Task, path: Path, kernels: str = "none") -> Artifact:
        told.append(kernels)
        artifact = export_onnx(model, task, path)
        zeros = any(note.endswith("bitmap") or "zeros" in note for note in artifact.notes)
        return dataclasses.replace(artifact, needs=("the library",) if zeros and kernels == "auto" else ())

    monkeypatch.setattr(evaluating, "export_onnx", export)
    monkeypatch.setattr("flyweight.search.sketch.export_onnx", export)
    monkeypatch.setattr(evaluating, "footprints", lambda paths, **more: footprints(paths, **{**more, "upto": "counts"}))
    return told


def evaluator(task: Task, folder: Path, kernels: str = "auto") -> Evaluator:
    return Evaluator(task, Store(folder), "onnxruntime", kernels=kernels)


def test_both_files_are_written_and_the_sparse_one_is_the_point(
    tiny_task: Task, tmp_path: Path, asked: list[str]
) -> None:
    point = evaluator(tiny_task, tmp_path / "out")(PRUNED)
    assert point.failure is None
    assert (point.kernels, point.needs) == ("auto", ("the library",))
    assert asked == ["auto", "none"]
    path = tmp_path / "out" / str(point.path)
    assert path.exists()
    assert path.with_suffix(".plain.onnx").exists()
    assert len(list(path.parent.iterdir())) == 2
    assert type(point).from_json(point.to_json()) == point


def test_the_two_choices_are_two_points_of_one_training(tiny_task: Task, tmp_path: Path, asked: list[str]) -> None:
    auto, none = (evaluator(tiny_task, tmp_path / "out", kernels) for kernels in ("auto", "none"))
    ours, dense = auto(PRUNED), none(PRUNED)
    assert ours.id != dense.id == PRUNED.key(tiny_task)
    assert ours.path != dense.path
    assert asked == ["auto", "none", "none"]
    assert auto(PRUNED) == ours
    assert none(PRUNED) == dense
    assert len(asked) == 3, "both were kept"
    assert {p.id for p in auto.ledger.all()} == {ours.id, dense.id}


def test_a_plain_point_with_zeros_is_made_anew_where_kernels_are_looked_for(
    tiny_task: Task, tmp_path: Path, asked: list[str]
) -> None:
    none, auto = (evaluator(tiny_task, tmp_path / "out", kernels) for kernels in ("none", "auto"))
    dense = none(PRUNED)
    ours = auto(PRUNED)
    assert ours.id != dense.id
    base = plain(tiny_task)
    assert none(base) == auto(base), "without zeros there is but one file"
    assert asked == ["none", "auto", "none", "none"]  # the last is the baseline's


def test_where_nothing_paid_the_file_is_the_plain_one(tiny_task: Task, tmp_path: Path, asked: list[str]) -> None:
    auto = evaluator(tiny_task, tmp_path / "out")
    point = auto(plain(tiny_task))
    assert point.id == plain(tiny_task).key(tiny_task)
    assert (point.kernels, point.needs) == ("auto", ())
    assert asked == ["auto"]
    assert auto(plain(tiny_task)) == point
    assert [p.name for p in (tmp_path / "out" / "models").iterdir()] == [Path(str(point.path)).name]


def test_a_sketch_is_replaced_by_the_point_that_it_was_of(tiny_task: Task, tmp_path: Path, asked: list[str]) -> None:
    auto = evaluator(tiny_task, tmp_path / "out")
    candidate = dataclasses.replace(PRUNED, sketch=Sketch(earnest=0))
    looked = sketched(auto, candidate)
    assert looked.needs == ("the library",)
    assert sketched(auto, candidate) == looked
    assert asked == ["auto"]
    point = auto(PRUNED)
    assert point.failure is None
    assert [p.id for p in auto.ledger.all()] == [point.id] == [looked.id]


def test_a_point_whose_file_cannot_be_opened_here_says_so(
    tiny_task: Task, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "why_not", lambda: None)
    found = optimize(tiny_task, tmp_path / "out", strategy=lambda task, terms: [PRUNED])
    assert [p.needs for p in found.points] == [(), ("the library",)]
    assert found.about["kernels"] == "auto"
    monkeypatch.setattr(searching, "why_not", lambda: "it was not built")
    again = optimize(tiny_task, tmp_path / "out", strategy=lambda task, terms: [PRUNED])
    assert again.about["kernels"] == "none: it was not built"
    failed = [p for p in again.points if p.failure is not None]
    assert [p.label for p in failed] == ["blocks"]
    assert "runs on the sparse kernels, which are not used here: it was not built" in str(failed[0].failure)
    assert {p.label for p in again.points if p.failure is None} == {"baseline", "blocks"}


def test_other_runtimes_get_plain_files(tiny_task: Task, tmp_path: Path, asked: list[str]) -> None:
    assert searching._without("openvino") == "openvino cannot take them in"
    with pytest.raises(UnknownNameError, match="there is no choice of kernels 'all'. Known: auto, none"):
        optimize(tiny_task, tmp_path / "out", kernels="all")
    assert not (tmp_path / "out").exists()
