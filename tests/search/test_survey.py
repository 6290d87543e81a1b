"""The survey's arms, as recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import TensorDataset

from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.serial import from_json, to_json
from flyweight.core.task import Task
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.distill.matched import matched
from flyweight.learn.train import Train
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate, plain
from flyweight.search.survey import _telling, survey
from flyweight.search.taught import taught


def flipped(x: Tensor) -> Tensor:
    return x.flip(-1)


def trains(candidates: Iterable[Candidate]) -> list[Train]:
    return [step for c in candidates for step in c.recipe if isinstance(step, Train)]


@pytest.fixture
def task(fresh_task: Task) -> Task:
    return dataclasses.replace(fresh_task, augment=(flipped,))


def test_every_width_comes_in_float_and_int8(task: Task) -> None:
    found = list(survey(widths=(0.25, 0.5, 1.0, 2.0))(task))
    widths = {w: set() for w in (0.25, 0.5, 1.0, 2.0)}
    for candidate in found:
        for step in candidate.recipe:
            if isinstance(step, Resize):
                widths[step.width].add(any(isinstance(s, Quantize) for s in candidate.recipe))
    assert all(kinds == {True, False} for kinds in widths.values())
    assert len({c.key(task) for c in found}) == len(found) == len({c.label for c in found})


def test_the_first_is_the_baseline_in_int8(task: Task) -> None:
    first = next(iter(survey()(task)))
    assert first.recipe[:-1] == plain(task).recipe
    assert isinstance(first.recipe[-1], Quantize)


def test_students_learn_from_the_baseline_and_the_one_grown_teacher(task: Task) -> None:
    found = list(survey(widths=(0.5, 1.0, 2.0))(task))
    losses = [t.loss for t in trains(found) if isinstance(t.loss, distilled)]
    teachers = {loss.teachers for loss in losses}
    assert len(teachers) == 1
    ((plain, teacher),) = teachers
    assert plain == found[0].recipe[:-1]
    assert teacher[0] == Resize(2.0)
    assert teacher[1].augment == (flipped,)
    assert any(c.recipe == teacher for c in found)


def test_all_arms_of_a_width_train_under_one_schedule(task: Task) -> None:
    task = dataclasses.replace(task, train=dataclasses.replace(task.train, epochs=8))
    for widths, factor in (((0.75, 1.0, 1.4), 1.0), ((0.1, 0.25, 0.5), 3.0)):
        found = list(survey(widths=widths, tuning=0.25, hurry=3.0)(task))
        resized = [c for c in found if isinstance(c.recipe[0], Resize)]
        assert {t.epochs for t in trains(resized)} == {8, 2}
        whole = {(t.optimizer, t.batch_size, t.seed) for t in trains(resized) if t.epochs == 8}
        rate = factor * task.train.optimizer.lr
        expected = dataclasses.replace(task.train.optimizer, lr=rate)
        assert whole == {(expected, task.train.batch_size, task.train.seed)}
        (slower,) = {t.optimizer.lr for t in trains(resized) if t.epochs == 2}
        assert slower == pytest.approx(0.1 * rate)


def test_the_plain_arms_learn_without_any_technique(task: Task) -> None:
    for candidate in survey()(task):
        if candidate.label.startswith("baseline"):
            assert all(t.augment == () and t.loss is None for t in trains([candidate]))
        else:
            assert all(t.loss is not None or t.augment == (flipped,) for t in trains([candidate]))


def test_wide_students_are_augmented_and_narrow_ones_only_taught(task: Task) -> None:
    for width, augment in ((1.0, (flipped,)), (0.5, ()), (0.1, ())):
        found = [c for c in survey(widths=(width, 2.0))(task) if c.label.startswith(f"width {width:g} ")]
        assert len(found) == (3 if width >= 0.25 else 2)
        assert all(t.augment == augment and isinstance(t.loss, distilled) for t in trains(found))


def test_float_and_int8_share_their_training(task: Task) -> None:
    found = {c.label: c.recipe for c in survey(widths=(0.5, 2.0))(task)}
    for label, recipe in found.items():
        if label.endswith(" int8 aware"):
            parent = found.get(label.removesuffix(" int8 aware"), plain(task).recipe)
            assert recipe[: len(parent)] == parent


def test_the_seed_reaches_every_draw(task: Task) -> None:
    found = list(survey(seed=3)(task))
    assert {t.seed for t in trains(found)} == {3}
    assert {s.seed for c in found for s in c.recipe if isinstance(s, Resize)} == {3}


def test_a_trained_model_is_only_quantized(residual_task: Task) -> None:
    found = list(survey()(residual_task))
    assert [len(c.recipe) for c in found] == [1] * len(found)
    rules = {type(c.recipe[0].ranges).__name__ for c in found if c.recipe[0].activations is not None}
    assert rules == {"minmax", "percentile", "mse", "kl"}
    assert any(c.recipe[0].activations is None for c in found)


def test_a_model_without_a_family_is_improved_at_its_own_width(task: Task) -> None:
    found = list(survey()(dataclasses.replace(task, family=None)))
    assert not any(isinstance(s, Resize) for c in found for s in c.recipe)
    labels = [c.label for c in found]
    assert "self-distilled int8 aware" in labels
    assert "augmented" in labels
    assert len({c.key(task) for c in found}) == len(found)


def test_every_recipe_is_json_both_ways(task: Task) -> None:
    for candidate in survey()(task):
        text = to_json(candidate.recipe)
        assert to_json(from_json(text)) == text
    assert from_json(to_json(survey())) == survey()


def test_regression_is_distilled_by_value(fresh_task: Task) -> None:
    assert isinstance(taught(fresh_task, (), 4.0, 1.0), distilled)
    inputs, labels = fresh_task.data.train.tensors
    real = TensorDataset(inputs, labels.float()[:, None])
    data = dataclasses.replace(fresh_task.data, train=real)
    assert isinstance(taught(dataclasses.replace(fresh_task, data=data), (), 4.0, 1.0), matched)


@given(st.lists(st.floats(0.01, 4), unique=True, max_size=9))
def test_widths_come_each_once_the_middle_first(widths: list[float]) -> None:
    found = _telling(widths)
    assert sorted(found) == sorted(widths)
    if widths:
        assert found[0] == sorted(widths)[len(widths) // 2]


def test_a_task_without_a_family_is_searched_to_its_end_by_who_sends_results_back(fresh_task: Task) -> None:
    """As ``optimize`` does; a plain iteration would not see a part that takes no results."""
    task = dataclasses.replace(fresh_task, family=None)
    candidates, found = survey()(task), []
    try:
        found.append(next(candidates))
        while True:
            found.append(candidates.send("a point"))
    except StopIteration:
        pass
    assert [c.label for c in found] == [c.label for c in survey()(task)]
    assert "baseline int8 weights" in {c.label for c in found}
