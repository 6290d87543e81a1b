"""The whole way, on a task that takes a second: what is kept, what is not done twice, and what is told."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from arms import counted, few, learner
from flyweight.core import atomic
from flyweight.core.errors import (
    BudgetError,
    FlyweightError,
    MetricError,
    ParityError,
    StoreError,
    TaskError,
    UnknownNameError,
)
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.core.task import Task
from flyweight.deploy.runtimes.open import open_artifact
from flyweight.measure.energy import find_counter
from flyweight.search import evaluate as evaluating
from flyweight.search.accident import accident
from flyweight.search.chain import chain
from flyweight.search.evaluate import Evaluator
from flyweight.search.optimize import optimize
from flyweight.search.pruned import pruned
from flyweight.search.until import until


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Frontier]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flyweight.search.conclude._THOROUGH", 0.1)
        return folder, optimize(tiny.fresh_task(), folder, strategy=few)


@pytest.fixture
def run(finished: tuple[Path, Frontier], tmp_path: Path) -> Path:
    """A copy of a finished run, for the test's own."""
    return Path(shutil.copytree(finished[0], tmp_path / "out"))


def steps_taken(folder: Path) -> list[str]:
    return [json.loads(line)["key"] for line in (folder / "log.jsonl").read_text().splitlines()]


def labels(frontier: Frontier) -> set[str]:
    return {p.label for p in frontier.points}


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **named: Any) -> Any:
        raise AssertionError("this was done before")

    monkeypatch.setattr(Evaluator, "make", never)
    monkeypatch.setattr(evaluating, "footprints", never)
    monkeypatch.setattr("flyweight.search.conclude.score", never)
    monkeypatch.setattr("flyweight.search.optimize.validate", never)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of something else: a child process a file takes its second."""
    monkeypatch.setattr(evaluating, "footprints", counted)


def test_every_candidate_becomes_a_point(finished: tuple[Path, Frontier]) -> None:
    folder, frontier = finished
    assert labels(frontier) == {"baseline", "int8", "refused", "wide"}
    assert frontier.baseline is not None
    assert frontier.points[0].label == "baseline"
    for point in frontier.points:
        if point.failure is None:
            assert point.quality is not None
            assert point.quality.examples == 256
            assert point.footprint.latency_ms
            assert point.footprint.speedup
            session = open_artifact(folder / str(point.path))
            assert len(session.inputs) == 1
            assert point.footprint.size_bytes == (folder / str(point.path)).stat().st_size
            assert point.parity


def test_a_candidate_that_fails_is_a_row_with_its_reason(finished: tuple[Path, Frontier]) -> None:
    (refused,) = [p for p in finished[1].points if p.label == "refused"]
    assert refused.failure == "UnsupportedError: Refuse can't do layer 'head'."
    assert refused.quality is None
    assert refused.id
    assert refused.recipe[-1]["use"].endswith("Refuse")


def test_the_report_split_is_read_for_the_frontier_and_the_baseline_alone(finished: tuple[Path, Frontier]) -> None:
    frontier = finished[1]
    shown = {p.id for p in frontier.optimal} | {frontier.baseline.id if frontier.baseline else ""}
    assert {p.id for p in frontier.points if p.report is not None} == shown


def test_the_folder_tells_the_run(finished: tuple[Path, Frontier]) -> None:
    folder, frontier = finished
    again = Frontier.load(folder)
    assert json.dumps(again.to_json()) == json.dumps(frontier.to_json())
    assert again.about["task"] == "tiny-fresh"
    assert again.about["end"] == "finished"
    assert again.about["options"] == {"seed": 0, "threads": 1, "timeout_s": None}
    assert again.about["host"]["cores"] >= 1
    assert "arms.few" in str(again.about["strategy"])
    assert (folder / "report.html").stat().st_size > 1000


def test_a_second_run_answers_from_what_was_kept(
    run: Path, finished: tuple[Path, Frontier], fresh_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch)
    start = time.monotonic()
    frontier = optimize(fresh_task, run, strategy=few)
    assert time.monotonic() - start < 10
    assert [p.to_json() for p in frontier.points] == [p.to_json() for p in finished[1].points]


def test_the_model_of_the_task_is_left_alone(fresh_task: Task, run: Path) -> None:
    before = {k: v.clone() for k, v in fresh_task.model.state_dict().items()}
    optimize(fresh_task, run, strategy=few)
    assert all(torch.equal(v, before[k]) for k, v in fresh_task.model.state_dict().items())


@pytest.mark.usefixtures("unmeasured")
def test_goes_on_where_it_was_interrupted(fresh_task: Task, tmp_path: Path, finished: tuple[Path, Frontier]) -> None:
    seen: list[str] = []

    def stop(point: Point) -> None:
        seen.append(point.label)
        if point.label == "int8":
            raise KeyboardInterrupt

    frontier = optimize(fresh_task, tmp_path / "out", strategy=few, watch=stop)
    assert seen == ["baseline", "int8"] == [p.label for p in frontier.points]
    assert frontier.about["end"] == "interrupted"
    assert Frontier.load(tmp_path / "out").about["end"] == "interrupted"
    assert (tmp_path / "out" / "report.html").exists()
    whole = optimize(fresh_task, tmp_path / "out", strategy=few)
    taken = steps_taken(tmp_path / "out")
    assert len(taken) == len(set(taken))
    for mine, theirs in zip(whole.points, finished[1].points, strict=True):
        assert (mine.id, mine.failure) == (theirs.id, theirs.failure)
        assert (mine.quality is None and theirs.quality is None) or mine.quality.value == theirs.quality.value
        assert mine.footprint.size_bytes == theirs.footprint.size_bytes


def test_an_interrupted_run_raises_no_budget_error(fresh_task: Task, run: Path) -> None:
    def stop(point: Point) -> None:
        raise KeyboardInterrupt

    assert optimize(fresh_task, run, strategy=few, budgets=["size_bytes<=1"], watch=stop).points


@pytest.mark.usefixtures("unmeasured")
def test_ends_at_the_time_limit(fresh_task: Task, tmp_path: Path) -> None:
    frontier = optimize(fresh_task, tmp_path / "out", strategy=few, timeout=0.01)
    assert labels(frontier) == {"baseline"}
    assert frontier.about["end"] == "time limit"
    assert frontier.points[0].report is not None


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("strategy", [chain(), (), "survey", pruned], ids=["chain", "tuple", "name", "class"])
def test_what_is_no_strategy_is_refused_before_anything_is_trained(
    strategy: Any, fresh_task: Task, tmp_path: Path
) -> None:
    with pytest.raises(FlyweightError, match=r"optimize got strategy=.*Give a strategy: .*until\(chain\(\)\)"):
        optimize(fresh_task, tmp_path / "out", strategy=strategy)
    assert not (tmp_path / "out").exists()
    with pytest.raises(FlyweightError, match=r"until got recipe=\(\). Give chain\(\), or a function of a ratio"):
        until(())  # type: ignore[arg-type]
    with pytest.raises(FlyweightError, match=r"pruned got how=.*Give chain"):
        pruned(how=until(chain()))  # type: ignore[arg-type]


def test_a_strategy_may_learn_from_results(fresh_task: Task, run: Path) -> None:
    assert "after wide" in labels(optimize(fresh_task, run, strategy=learner))


def test_a_budget_that_nothing_meets_is_told_at_the_end(run: Path, fresh_task: Task) -> None:
    with pytest.raises(BudgetError, match=r"no model meets size_bytes<=10 and .*closest came .* with size_bytes="):
        optimize(fresh_task, run, strategy=few, budgets=["size_bytes<=10"], max_drop=0.5)
    assert Frontier.load(run).about["budgets"] == ["size_bytes<=10"]


def test_a_budget_adds_its_field_to_the_costs(run: Path, fresh_task: Task) -> None:
    frontier = optimize(fresh_task, run, strategy=few, budgets=["gzip_bytes<=1e9"])
    assert frontier.costs == ("size_bytes", "latency_ms", "gzip_bytes")


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"budgets": ["size_byte<=3"]}, UnknownNameError, "Did you mean 'size_bytes'"),
        ({"budgets": ["small"]}, BudgetError, "is no budget"),
        ({"max_drop": -1}, BudgetError, "max_drop=-1 can never be met"),
        ({"timeout": "soon"}, FlyweightError, "'soon' is no time limit"),
        ({"runtime": "onnxruntim"}, UnknownNameError, "Did you mean 'onnxruntime'"),
        ({"runtime": "nomod:func"}, UnknownNameError, "'nomod:func' cannot be imported"),
        ({"threads": 0}, FlyweightError, "threads=0. Give 1 or more"),
    ],
)
def test_wrong_words_are_told_before_anything_is_written(
    fresh_task: Task, tmp_path: Path, options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        optimize(fresh_task, tmp_path / "out", strategy=few, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_counter()[0] is not None, reason="this machine has a counter, so no meter is asked for")
def test_a_meter_that_is_not_there_is_told_at_once(fresh_task: Task, tmp_path: Path) -> None:
    with pytest.raises(FlyweightError, match="the meter 'nomod:joules' cannot be read"):
        optimize(fresh_task, tmp_path / "out", meter="nomod:joules")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("unmeasured")
def test_what_cannot_keep_its_bytes_is_not_trained(fresh_task: Task, tmp_path: Path) -> None:
    from arms import many

    frontier = optimize(fresh_task, tmp_path / "out", strategy=many, budgets=["size_bytes<=6000"])
    told = {p.label: p.failure for p in frontier.points}
    assert told["baseline"] is None
    assert told["width 0.5"] is None
    assert str(told["width 2"]).startswith("skipped: ")
    notes = [path.read_text() for path in (tmp_path / "out" / "steps").glob("*.json")]
    assert sum("Resize" in note for note in notes) == 1


def test_many_processes_are_refused(fresh_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(FlyweightError, match=r"in 2 processes by torchrun.*plain python.*fw\.run"):
        optimize(fresh_task, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_library_that_was_missing_is_tried_again() -> None:
    from flyweight.core.point import Point

    told = {
        name: accident(Point(id="x", label="x", failure=f"{name}: …"))
        for name in ("MissingExtraError", "ParityError", "KeyError")
    }
    assert told == {"MissingExtraError": True, "ParityError": False, "KeyError": True}


def test_a_task_that_contradicts_itself_is_told_before_training(fresh_task: Task, tmp_path: Path) -> None:
    empty = torch.utils.data.Subset(fresh_task.data.select, [])
    task = dataclasses.replace(fresh_task, data=dataclasses.replace(fresh_task.data, select=empty))
    with pytest.raises(TaskError, match=r"data\.select is empty"):
        optimize(task, tmp_path / "out", strategy=few)
    assert not (tmp_path / "out" / "steps").exists()


def moody(forward: Any, batches: Any) -> float:
    """NaN for what has been trained, which is what a broken metric looks like in the midst of a run."""
    value = tiny.accuracy(forward, batches)
    return value if value < 0.35 else float("nan")


def test_a_baseline_that_fails_is_the_run_s_failure(fresh_task: Task, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="nan"):
        optimize(dataclasses.replace(fresh_task, quality=moody), tmp_path / "out", strategy=few)


@pytest.mark.usefixtures("unmeasured")
def test_an_artifact_that_differs_is_not_offered(fresh_task: Task, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(*args: Any, **named: Any) -> Any:
        raise ParityError("ParityError: layer 'head' differs.")

    monkeypatch.setattr(evaluating, "check_parity", differs)
    before = set((run / "models").iterdir())
    frontier = optimize(fresh_task, run, strategy=lambda task, terms: [*_another(task)])
    (failed,) = [p for p in frontier.points if p.label == "another"]
    assert failed.failure == "ParityError: layer 'head' differs."
    assert set((run / "models").iterdir()) == before


def _another(task: Task) -> list[Any]:
    from flyweight.models.resize import Resize
    from flyweight.search.candidate import Candidate, plain

    return [Candidate(label="another", recipe=(Resize(0.5), *plain(task).recipe))]


@pytest.mark.usefixtures("unmeasured")
def test_an_accident_is_tried_again_and_a_verdict_is_not(fresh_task: Task, run: Path) -> None:
    from arms import Refuse
    from flyweight.search.candidate import Candidate, plain

    base = plain(fresh_task).recipe
    again = [Candidate(label="accident", recipe=(*base, Refuse(accident=True))), *few(fresh_task, None)]  # type: ignore[arg-type]
    tried: list[str] = []
    made = Evaluator.make

    def note(self: Evaluator, candidate: Any) -> Any:
        tried.append(candidate.label)
        return made(self, candidate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluator, "make", note)
        for _ in range(2):
            frontier = optimize(fresh_task, run, strategy=lambda task, terms: again)
    assert tried == ["accident", "accident"]
    assert "ZeroDivisionError: by nought" in {p.failure for p in frontier.points}


@pytest.mark.usefixtures("unmeasured")
def test_a_full_disk_is_no_candidate_s_fault(
    fresh_task: Task, run: Path, monkeypatch: pytest.MonkeyPatch, finished: tuple[Path, Frontier]
) -> None:
    real: Callable[[Path, Path], None] = atomic.os.replace

    def full(source: Any, target: Any) -> None:
        if str(target).endswith(".safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(atomic.os, "replace", full)
    with pytest.raises(StoreError, match=r"the disk is full\. Free some space and run the same command again; nothing"):
        optimize(fresh_task, run, strategy=lambda task, terms: _another(task))
    monkeypatch.undo()
    forbid(monkeypatch)
    assert labels(optimize(fresh_task, run, strategy=few)) == labels(finished[1])


def test_a_full_disk_told_by_a_library_is_told_as_such(
    fresh_task: Task, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(evaluating, "export_onnx", broken)
    monkeypatch.setattr(evaluating.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(StoreError, match="the disk is full"):
        optimize(fresh_task, run, strategy=lambda task, terms: _another(task))


def test_a_folder_of_another_s(fresh_task: Task, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(StoreError, match="holds files that flyweight did not put there"):
        optimize(fresh_task, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_where_the_folder_should_be(fresh_task: Task, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        optimize(fresh_task, tmp_path / "out")


def test_a_folder_of_another_task(run: Path, fresh_task: Task) -> None:
    with pytest.raises(StoreError, match="holds results of the task 'tiny-fresh', and this is 'mine'"):
        optimize(dataclasses.replace(fresh_task, name="mine"), run)


def test_a_folder_of_the_task_with_other_weights(run: Path, fresh_task: Task) -> None:
    nn.init.zeros_(fresh_task.model[-1].weight)
    with pytest.raises(StoreError, match=r"call torch\.manual_seed before the model is made"):
        optimize(fresh_task, run)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("name", ["together.json", "points", "flyweight.json"])
def test_a_half_written_folder(run: Path, fresh_task: Task, name: str) -> None:
    path = run / name if name != "points" else sorted((run / "points").glob("*.json"))[0]
    path.write_text(path.read_text()[:9])
    if name == "together.json":
        assert optimize(fresh_task, run, strategy=few).points  # it only said that the work was done
        return
    with pytest.raises(StoreError, match=r"cannot be read as JSON .*delete it and run the same command again"):
        optimize(fresh_task, run, strategy=few)


@pytest.mark.usefixtures("unmeasured")
def test_a_model_file_that_is_gone_is_made_again_from_its_steps(run: Path, fresh_task: Task) -> None:
    before = steps_taken(run)
    gone = next((run / "models").glob("int8-*.onnx"))
    content = gone.read_bytes()
    gone.unlink()
    optimize(fresh_task, run, strategy=few)
    assert gone.read_bytes() == content
    assert steps_taken(run) == before


@pytest.mark.usefixtures("unmeasured")
def test_other_threads_are_measured_anew_and_nothing_is_trained(run: Path, fresh_task: Task) -> None:
    before = steps_taken(run)
    frontier = optimize(fresh_task, run, strategy=few, threads=2)
    assert {p.footprint.detail["threads"] for p in frontier.points if p.failure is None} == {2}
    assert steps_taken(run) == before
