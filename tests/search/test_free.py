"""The free search, driven by made-up points: nothing is trained here."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.budget import Budget
from flyweight.core.errors import FlyweightError, UnknownNameError
from flyweight.core.footprint import Footprint
from flyweight.core.point import Point, Score
from flyweight.core.serial import from_json, to_json
from flyweight.core.task import Task
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate, Terms
from flyweight.search.free import free
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.space import Space
from flyweight.search.study import Study


def made_up(candidate: Candidate, failure: str | None = None) -> Point:
    """Wider is better and bigger."""
    width = next((s.width for s in candidate.recipe if isinstance(s, Resize)), 1.0)
    score = Score(value=width / (1 + width), low=0, high=1, examples=10)
    footprint = Footprint(size_bytes=int(1000 * width), latency_ms=width)
    if failure:
        return Point(id="x", label=candidate.label, failure=failure)
    return Point(id="x", label=candidate.label, quality=score, footprint=footprint)


def drive(search: free, task: Task, folder: Path, stop: int | None = None, **terms: object) -> list[Candidate]:
    candidates = search(task, Terms(folder=folder, **terms))
    found: list[Candidate] = []
    point = None
    while stop is None or len(found) < stop:
        try:
            found.append(candidates.send(point))
        except StopIteration:
            return found
        point = made_up(found[-1])
    candidates.close()
    return found


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_proposes_as_many_as_asked_for(fresh_task: Task, tmp_path: Path, sampler: str) -> None:
    found = drive(free(trials=7, sampler=sampler), fresh_task, tmp_path)
    assert len(found) == 7
    assert len({to_text(c) for c in found}) > 4
    assert drive(free(trials=7, sampler=sampler), fresh_task, tmp_path) == []
    assert len(drive(free(trials=9, sampler=sampler), fresh_task, tmp_path)) == 2


def to_text(candidate: Candidate) -> str:
    return str(to_json(candidate.recipe))


def test_goes_on_as_if_it_had_not_been_stopped(fresh_task: Task, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole = drive(free(trials=14), fresh_task, tmp_path / "a")
    first = drive(free(trials=14), fresh_task, tmp_path / "b", stop=5)
    rest = drive(free(trials=14), fresh_task, tmp_path / "b")
    # The fifth was given up before it was told, so it comes again, with the same choices.
    assert [to_text(c) for c in first[:5]] == [to_text(c) for c in whole[:5]]
    assert [to_text(c) for c in (*first[:4], *rest)] == [to_text(c) for c in whole]


def test_another_seed_searches_elsewhere(fresh_task: Task, tmp_path: Path) -> None:
    texts = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        texts.append([to_text(c) for c in drive(free(trials=4, seed=seed), fresh_task, tmp_path / str(seed))])
    assert texts[0] != texts[1]


def test_a_failure_is_told_and_not_repeated(fresh_task: Task, tmp_path: Path) -> None:
    candidates = free(trials=3)(fresh_task, Terms(folder=tmp_path))
    first = next(candidates)
    candidates.send(made_up(first, failure="it broke"))
    candidates.close()
    study = Study(Terms(folder=tmp_path))
    assert study.finished == 1
    (failed,) = [t for t in study._study.trials if t.user_attrs.get("failure")]
    assert failed.user_attrs["failure"] == "it broke"


def test_a_cost_that_was_not_measured_is_no_success(fresh_task: Task, tmp_path: Path) -> None:
    study = Study(Terms(folder=tmp_path))
    trial = study.ask()
    study.tell(trial, Point(id="x", label="x", quality=Score(value=1, low=1, high=1, examples=1)))
    (told,) = study._study.trials
    assert told.user_attrs["failure"] == "not measured: size_bytes, latency_ms"


def test_budgets_are_constraints_and_objectives(fresh_task: Task, tmp_path: Path) -> None:
    budgets = (Budget("size_bytes", 300), Budget("macs", 10))
    terms = Terms(folder=tmp_path, budgets=budgets)
    assert terms.costs == ("size_bytes", "latency_ms", "macs")
    study = Study(terms)
    trial = study.ask()
    footprint = Footprint(size_bytes=600, latency_ms=1, macs=5)
    study.tell(trial, Point(id="x", label="x", quality=Score(value=1, low=1, high=1, examples=1), footprint=footprint))
    assert study._study.trials[0].constraints == {"size_bytes<=300": 1.0, "macs<=10": 0.0}
    assert study._study.trials[0].values == [1, 600, 1, 5]


def test_the_quality_that_may_be_lost_is_a_constraint(fresh_task: Task, tmp_path: Path) -> None:
    scores = {value: Score(value=value, low=0, high=1, examples=1) for value in (0.9, 0.8, 0.6)}
    base = Point(id="b", label="b", quality=scores[0.9])
    assert Terms(folder=tmp_path, max_drop=0.2).floor is None
    study = Study(Terms(folder=tmp_path, max_drop=0.2, baseline=base))
    for value in (0.8, 0.6):
        footprint = Footprint(size_bytes=600, latency_ms=1)
        study.tell(study.ask(), Point(id="x", label="x", quality=scores[value], footprint=footprint))
    assert [t.constraints for t in study._study.trials] == [
        {"quality>=floor": 0.0},
        {"quality>=floor": pytest.approx(0.1)},
    ]
    # Constraints are kept with the trials, so without the floor it is another study.
    assert Study(Terms(folder=tmp_path, baseline=base)).finished == 0


def test_the_search_learns_to_keep_a_budget(fresh_task: Task, tmp_path: Path) -> None:
    found = drive(free(trials=40), fresh_task, tmp_path, budgets=(Budget("size_bytes", 150),))
    widths = [next(s.width for s in c.recipe if isinstance(s, Resize)) for c in found]
    kept = [width <= 0.15 for width in widths]
    assert sum(kept[25:]) / 15 > sum(kept[:10]) / 10


def test_a_task_that_cannot_be_trained_is_only_quantized(residual_task: Task, tmp_path: Path) -> None:
    for candidate in drive(free(trials=8), residual_task, tmp_path):
        assert len(candidate.recipe) <= 1
        assert "aware" not in candidate.label


def test_recipes_are_json_both_ways(fresh_task: Task, tmp_path: Path) -> None:
    for candidate in drive(free(trials=12), fresh_task, tmp_path):
        text = to_json(candidate.recipe)
        assert to_json(from_json(text)) == text
    assert from_json(to_json(free(trials=3))) == free(trials=3)


def test_says_what_it_takes() -> None:
    with pytest.raises(FlyweightError, match=r"free got trials=0\. Give 1 or more"):
        free(trials=0)
    with pytest.raises(UnknownNameError, match=r"no sampler 'nsga3'\. Did you mean 'nsga2'"):
        free(sampler="nsga3")


def test_some_trials_prune(fresh_task: Task, tmp_path: Path) -> None:
    found = drive(free(trials=30, sampler="random"), fresh_task, tmp_path)
    steps = [step for c in found for step in c.recipe if isinstance(step, Prune)]
    assert {type(step.structure) for step in steps} == {channel, element, block}
    assert all(0.1 <= step.ratio <= 0.9 for step in steps)
    for candidate in found:
        kinds = [type(step).__name__ for step in candidate.recipe]
        if "Prune" in kinds:
            prune = next(s for s in candidate.recipe if isinstance(s, Prune))
            assert kinds[kinds.index("Prune") :][:2] == ["Prune", "Remove" if prune.structure == channel() else "Train"]
            assert " −" in candidate.label
            if isinstance(prune.structure, block):
                whole = any(isinstance(s, Quantize) and s.activations for s in candidate.recipe)
                assert prune.structure == kernel_blocks()(8 if whole else None), candidate.label
    (tmp_path / "none").mkdir()
    plainly = free(trials=10, sampler="random", space=Space(pruned=0.0))
    assert not any(isinstance(s, Prune) for c in drive(plainly, fresh_task, tmp_path / "none") for s in c.recipe)
