"""What is not trained, since its bytes are known to be too many."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from arms import Refuse
from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.budget import Budget
from flyweight.core.notes import noted
from flyweight.core.store import Store
from flyweight.core.task import Task
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate, plain
from flyweight.search.evaluate import Evaluator
from flyweight.search.spare import spared


@pytest.fixture
def evaluator(fresh_task: Task, tmp_path: Path) -> Evaluator:
    return Evaluator(fresh_task, Store(tmp_path / "out"), "onnxruntime")


def budgets(limit: float) -> list[Budget]:
    return [Budget("latency_ms", 1e9), Budget("size_bytes", 10 * limit), Budget("size_bytes", limit)]


@pytest.mark.parametrize("quantize", [(), (Quantize(bits=8),), (Quantize(bits=8, aware=Aware()),)])
def test_the_untrained_file_tells_the_trained_one_s_bytes(evaluator: Evaluator, quantize: tuple[Quantize, ...]) -> None:
    task = evaluator.task
    assert task.train is not None
    candidate = Candidate(label="wide", recipe=(Resize(2.0), *quantize, task.train))
    assert spared(evaluator, candidate, budgets(1e6)) is None
    assert spared(evaluator, candidate, []) is None
    point = spared(evaluator, candidate, budgets(1000))
    assert point is not None
    assert point.failure is not None
    assert point.failure.startswith("skipped: ")
    assert point.failure.endswith(" KB untrained exceeds size_bytes<=1000")
    assert evaluator.ledger.get(candidate.key(task)) == point
    model = task.train(quantized(candidate, task), task)
    size = _bytes(model, evaluator)
    assert spared(evaluator, candidate, budgets(size)) is None
    assert spared(evaluator, candidate, budgets(size / 1.1)) is not None


def quantized(candidate: Candidate, task: Task) -> object:
    model = task.model
    for step in candidate.recipe[:-1]:
        model = step(model, task)
    return model


def _bytes(model: object, evaluator: Evaluator) -> int:
    from flyweight.deploy.export.onnx import export_onnx

    path = evaluator.store.folder / "trained.onnx"
    return export_onnx(model.eval(), evaluator.task, path).path.stat().st_size  # type: ignore[attr-defined]


def test_what_costs_nothing_or_is_not_known_is_tried(evaluator: Evaluator) -> None:
    base = plain(evaluator.task)
    assert spared(evaluator, base, budgets(1)) is None
    other = Candidate(label="other", recipe=(*base.recipe, Refuse()))
    assert spared(evaluator, other, budgets(1)) is None
    free_of_training = Candidate(label="int8", recipe=(Quantize(bits=8),))
    assert spared(evaluator, free_of_training, budgets(1)) is None
    again = Candidate(label="int8", recipe=(*base.recipe, Quantize(bits=8)))
    assert spared(evaluator, again, budgets(1)) is not None
    from flyweight.core.recipe import run

    run(base.recipe, evaluator.task.model, evaluator.task, evaluator.store)
    assert spared(evaluator, again, budgets(1)) is None, "its training is there already"


def test_a_look_at_the_bytes_tells_nothing_of_the_pruning(evaluator: Evaluator) -> None:
    train = plain(evaluator.task).recipe
    candidate = Candidate(label="missed", recipe=(*train, Prune(0.99, structure=channel()), Remove(), *train))
    with noted() as told:
        assert spared(evaluator, candidate, budgets(10)) is not None
    assert told == []


def test_pruned_files_are_foreseen_where_the_weights_do_not_decide(evaluator: Evaluator) -> None:
    task = evaluator.task
    assert task.train is not None
    prune = Prune(0.5, structure=channel())
    recipe = (*plain(task).recipe, prune, Remove(), task.train)
    half = Candidate(label="half", recipe=recipe)
    point = spared(evaluator, half, budgets(1000))
    assert point is not None
    assert str(point.failure).startswith("skipped: ")
    model = Remove()(prune(task.model, task), task)
    size = _bytes(model, evaluator)
    assert spared(evaluator, half, budgets(1.01 * size)) is None
    assert spared(evaluator, half, budgets(size / 1.1)) is not None
    other = dataclasses.replace(prune, distribution=global_())
    assert spared(evaluator, Candidate(label="g", recipe=(*recipe[:1], other, *recipe[2:])), budgets(1000)) is None
