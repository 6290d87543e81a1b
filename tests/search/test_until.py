"""The least ratio that keeps a budget: found on untrained files, trained once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import tiny
from flyweight.core.budget import Budget
from flyweight.core.errors import BudgetError, FlyweightError
from flyweight.core.footprint import Footprint
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point, Score
from flyweight.core.step import Recipe, Step
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate, Terms
from flyweight.search.chain import chain
from flyweight.search.optimize import optimize
from flyweight.search.until import until

SCORE = Score(value=0.5, low=0.4, high=0.6, examples=10)


@dataclass(frozen=True)
class Thin(Step):
    """The family at a width of 1 − ``ratio``, in the place of pruning."""

    ratio: float

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        return Resize(max(1 - self.ratio, 0.01)).edit(model, task)

    def replay(self, model: nn.Module, task: Task, state: Any) -> nn.Module:
        return self.edit(model, task)


@dataclass(frozen=True)
class thinner:
    """The baseline's training, thinned, and trained again."""

    def __call__(self, ratio: float, task: Task) -> Recipe:
        assert task.train is not None
        return (task.train, Thin(ratio), task.train)

    def label(self, ratio: float, task: Task) -> str:
        return f"thinner by {ratio:.4g}"


def ratio_of(recipe: Any) -> float:
    return float(next(step.ratio for step in recipe if isinstance(step, Thin)))


Measure = Callable[[float, Candidate], Footprint]


def drive(how: until, measure: Measure, *budgets: str) -> tuple[list[Candidate], list[Candidate]]:
    """What a strategy looks at, and what it trains, where ``measure`` gives the footprints."""
    terms = Terms(folder=Path(), budgets=tuple(map(Budget.parse, budgets)))
    task = tiny.fresh_task()
    looks, trained = [], []
    candidates = how(task, terms)
    point: Point | None = None
    while True:
        try:
            candidate = candidates.send(point)  # type: ignore[arg-type]
        except StopIteration:
            return looks, trained
        (trained if candidate.sketch is None else looks).append(candidate)
        found = measure(ratio_of(candidate.recipe), candidate)
        quality = SCORE if candidate.sketch is None else None
        point = Point(id=candidate.label, label=candidate.label, quality=quality, footprint=found)


def exactly(ratio: float, candidate: Candidate) -> Footprint:
    """A file of 1000 bytes, 1000·(1−ratio)² MACs and 10·(1−ratio) ms; no more is told than was asked."""
    timed = candidate.sketch is None or candidate.sketch.upto != "counts"
    latency = 10 * (1 - ratio) if timed else None
    return Footprint(
        size_bytes=round(1000 * (1 - ratio)),
        macs=round(1000 * (1 - ratio) ** 2),
        latency_ms=latency,
        speedup=None if latency is None else 10 / latency,
    )


@pytest.mark.parametrize(
    ("budgets", "wanted"),
    [
        (("size_bytes<=1000",), 0.0),
        (("size_bytes<=999",), 0.01),
        (("size_bytes<=373",), 0.63),
        (("size_bytes<=100", "macs<=250"), 0.9),
        (("macs<=250",), 0.5),
        (("size_bytes<=10",), None),
        (("latency_ms<=5",), 0.5),
        (("latency_ms<=5", "macs<=90"), 0.7),
        (("latency_ms<=0.4", "macs<=250"), None),
        (("size_bytes<=373", "parameters<=9"), None),
    ],
)
def test_the_least_ratio_that_keeps_all_budgets_is_trained_alone(
    budgets: tuple[str, ...], wanted: float | None
) -> None:
    how = until(thinner(), most=0.95, step=0.01, slack=0.0)
    looks, trained = drive(how, exactly, *budgets)
    assert [ratio_of(c.recipe) for c in trained] == ([] if wanted is None else [wanted])
    assert len(looks) <= 18
    assert all(look.sketch and look.sketch.earnest == 1 for look in looks)
    if not any("latency" in b for b in budgets):
        assert all(look.sketch and look.sketch.upto == "counts" for look in looks)


def test_what_is_timed_is_looked_at_only_where_the_counts_are_kept() -> None:
    looks, _ = drive(until(thinner(), step=0.05), exactly, "latency_ms<=4.1", "size_bytes<=500")
    depths = [look.sketch.upto for look in looks if look.sketch]
    assert depths == sorted(depths), "counts first"
    assert all(ratio_of(look.recipe) >= 0.5 for look in looks if look.sketch and look.sketch.upto == "latency")
    looks, _ = drive(until(thinner(), step=0.05), exactly, "load_ms<=9")
    assert {look.sketch.upto for look in looks if look.sketch} == {"counts", "memory"}


@pytest.mark.parametrize("seed", range(20))
def test_noise_and_drift_do_not_mislead(seed: int) -> None:
    """± 1 % of noise in each time and ± 30 % in the machine's pace from look to look: at most two steps too many."""
    draw = random.Random(seed)

    def noisy(ratio: float, candidate: Candidate) -> Footprint:
        mine, base = (t * (1 + 0.01 * draw.uniform(-1, 1)) for t in (10 * (1 - ratio), 10.0))
        pace = 1 + 0.3 * draw.uniform(-1, 1) if candidate.sketch else 1.0
        return Footprint(size_bytes=1, latency_ms=pace * mine, speedup=base / mine)

    _, trained = drive(until(thinner(), step=0.05), noisy, "latency_ms<=5.2")
    # The pace of the baseline is known to the median of some looks.
    assert 0.4 <= ratio_of(trained[-1].recipe) <= 0.65
    still = until(thinner(), step=0.05)

    def steady(ratio: float, candidate: Candidate) -> Footprint:
        mine, base = (t * (1 + 0.01 * draw.uniform(-1, 1)) for t in (10 * (1 - ratio), 10.0))
        return Footprint(size_bytes=1, latency_ms=mine, speedup=base / mine)

    _, trained = drive(still, steady, "latency_ms<=5.2")
    assert ratio_of(trained[0].recipe) in (0.5, 0.55)


def test_a_slow_moment_of_the_machine_is_taken_out() -> None:
    def slow_once(ratio: float, candidate: Candidate) -> Footprint:
        pace = 1.5 if candidate.sketch and candidate.sketch.again == 0 and ratio == 0.5 else 1.0
        return Footprint(size_bytes=1, latency_ms=pace * 10 * (1 - ratio), speedup=1 / (1 - ratio))

    _, trained = drive(until(thinner(), step=0.05), slow_once, "latency_ms<=5.2")
    assert [ratio_of(c.recipe) for c in trained] == [0.5]


def test_a_time_stays_below_its_limit_by_the_slack() -> None:
    for slack, wanted in ((0.0, 0.5), (0.03, 0.55), (0.2, 0.6)):
        _, trained = drive(until(thinner(), step=0.05, slack=slack), exactly, "latency_ms<=5.0001")
        assert [ratio_of(c.recipe) for c in trained] == [wanted]


def test_a_look_that_was_lucky_is_found_out_before_it_is_trained_for() -> None:
    def lucky(ratio: float, candidate: Candidate) -> Footprint:
        first = candidate.sketch is not None and candidate.sketch.again == 0
        latency = 10 * (1 - ratio) * (0.9 if first and ratio == 0.5 else 1.0)
        return Footprint(size_bytes=1, latency_ms=latency, speedup=10 / latency)

    looks, trained = drive(until(thinner(), step=0.05), lucky, "latency_ms<=4.8")
    assert [ratio_of(c.recipe) for c in trained] == [0.55]
    confirmed = [(ratio_of(c.recipe), c.sketch.seconds) for c in looks if c.sketch and c.sketch.again]
    assert [ratio for ratio, _ in confirmed] == [0.5, 0.55]
    assert min(seconds for _, seconds in confirmed) > max(
        c.sketch.seconds for c in looks if c.sketch and not c.sketch.again
    )


def test_a_trained_file_that_breaks_the_budget_is_followed_by_the_next_ratio() -> None:
    def slower(ratio: float, candidate: Candidate) -> Footprint:
        found = exactly(ratio, candidate)
        size = (found.size_bytes or 0) + (60 if candidate.sketch is None else 0)
        return Footprint(size_bytes=size)

    _, trained = drive(until(thinner(), step=0.05, tries=2), slower, "size_bytes<=500")
    assert [ratio_of(c.recipe) for c in trained] == [0.5, 0.55]
    _, trained = drive(until(thinner(), step=0.05), slower, "size_bytes<=500")
    assert [ratio_of(c.recipe) for c in trained] == [0.5, 0.55, 0.6]
    _, trained = drive(until(thinner(), step=0.05, most=0.55), slower, "size_bytes<=500")
    assert [ratio_of(c.recipe) for c in trained] == [0.5, 0.55]


def test_the_last_ratio_is_the_most_even_off_the_grid() -> None:
    from flyweight.search.until import _Search

    task = tiny.fresh_task()
    for most, step in ((0.95, 1 / 32), (0.9, 0.1), (0.8, 0.25), (0.5, 0.5)):
        how = until(thinner(), most=most, step=step)
        search = _Search(how, task, ())
        places = [how.ratio(place) for place in range(search.last + 1)]
        assert places[0] == 0
        assert places[-1] == most
        assert places == sorted(set(places))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"least": 0.5, "most": 0.5}, "least=0.5 and most=0.5. Give fractions"),
        ({"most": 1.0}, "0 ≤ least < most < 1"),
        ({"step": 0.0}, "step=0.0"),
        ({"step": 1.0}, "step=1.0"),
        ({"tries": 0}, "1 try or more"),
        ({"slack": 1.0}, "slack=1.0"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(FlyweightError, match=said):
        until(thinner(), **fields)


def test_looks_are_named_as_the_chain_names_them(fresh_task: Task) -> None:
    terms = Terms(folder=Path(), budgets=(Budget("size_bytes", 1000),))
    assert next(until(chain(), least=0.5)(fresh_task, terms)).label == chain().label(0.5, fresh_task)


def test_without_a_budget_there_is_nothing_to_prune_to(fresh_task: Task, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"until prunes to a budget, and none was given. Give optimize\(budgets="):
        optimize(fresh_task, tmp_path / "out", strategy=until(thinner()))
    assert not (tmp_path / "out").exists()


def weighed(paths: list[Path], **options: Any) -> list[Footprint]:
    """A millisecond a thousand bytes, in turns with the baseline; nothing is timed that is not asked for."""
    found = []
    for path in paths:
        size = path.stat().st_size
        more = {}
        if options["upto"] != "counts":
            base = options["baseline"]
            more = {"latency_ms": size / 1000, "speedup": base.stat().st_size / size if base else None}
        found.append(Footprint(size_bytes=size, detail={"threads": 1}, **more))
    return found


def test_the_whole_way(fresh_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files: every look is a row, one ratio is trained, and the same call does nothing twice."""
    monkeypatch.setattr("flyweight.search.evaluate.footprints", weighed)
    model = Thin(0.5)(fresh_task.model, fresh_task).eval()
    limit = export_onnx(model, fresh_task, tmp_path / "model.onnx").path.stat().st_size
    budgets = [f"size_bytes<={1.3 * limit:.0f}", f"latency_ms<={1.1 * limit / 1000:.6f}"]
    how = until(thinner(), most=0.75, step=0.25, slack=0.0)
    first = optimize(fresh_task, tmp_path / "out", strategy=how, budgets=budgets)
    (one,) = [p for p in first.points if p.failure is None and not p.baseline]
    assert one.label == "thinner by 0.5"
    looks = {p.label: p for p in first.points if p.failure is not None}
    assert "thinner by 0" in looks
    assert all(str(p.failure).startswith("not trained: ") and p.footprint.size_bytes for p in looks.values())
    notes = [json.loads(path.read_text()) for path in (tmp_path / "out" / "steps").glob("*.json")]
    assert sum(note["step"]["use"].endswith(".Train") for note in notes) == 2, "the baseline's, and one after pruning"
    assert Frontier.load(tmp_path / "out").best(size_bytes=1.3 * limit).label == one.label

    def never(*args: Any, **named: Any) -> Any:
        raise AssertionError("this was done before")

    monkeypatch.setattr("flyweight.search.sketch.export_onnx", never)
    monkeypatch.setattr("flyweight.search.evaluate.footprints", never)
    again = optimize(fresh_task, tmp_path / "out", strategy=how, budgets=budgets)
    assert [p.to_json() for p in again.points] == [p.to_json() for p in first.points]


def test_a_budget_that_no_ratio_keeps_says_what_came_closest(
    fresh_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyweight.search.evaluate.footprints", weighed)
    how = until(thinner(), least=0.7, most=0.8, step=0.1)
    said = r"no model meets size_bytes<=100; closest came 'thinner by 0\.8' with size_bytes=\d+ \(not trained\)\."
    with pytest.raises(BudgetError, match=said):
        optimize(fresh_task, tmp_path / "out", strategy=how, budgets=["size_bytes<=100"])
    notes = [json.loads(path.read_text()) for path in (tmp_path / "out" / "steps").glob("*.json")]
    assert sum(note["step"]["use"].endswith(".Train") for note in notes) == 1, "the baseline alone"


def test_a_machine_that_slows_down_takes_nothing_back(
    fresh_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last measuring is of all files, on a machine a third slower: what the search kept, the run keeps and says."""
    slower = 4 / 3

    def measured(paths: list[Path], **options: Any) -> list[Footprint]:
        found = weighed(paths, **options)
        if len(paths) == 1:
            return found
        return [replace(f, latency_ms=f.latency_ms and f.latency_ms * slower) for f in found]

    monkeypatch.setattr("flyweight.search.evaluate.footprints", measured)
    model = Thin(0.5)(fresh_task.model, fresh_task).eval()
    limit = export_onnx(model, fresh_task, tmp_path / "model.onnx").path.stat().st_size
    budget = f"latency_ms<={1.1 * limit / 1000:.6f}"
    how = until(thinner(), most=0.75, step=0.25, slack=0.0)
    for _ in range(2):
        found = optimize(fresh_task, tmp_path / "out", strategy=how, budgets=[budget])
        trained = [p for p in found.points if p.failure is None and not p.baseline]
        assert [p.label for p in trained] == ["thinner by 0.5"], "and the same call goes on to no other ratio"
        assert found.best() is trained[0]
        assert (found.best().value("latency_ms") or 0) > found.budgets[0].limit
        assert "when the machine was 33 % slower" in " ".join(repr(found).split())
