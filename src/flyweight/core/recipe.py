"""Running a recipe: one copy of the model, step after step, each result kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.core.answer import answer
from flyweight.core.copied import copied
from flyweight.core.crew import agreed
from flyweight.core.errors import FlyweightError
from flyweight.core.key import recipe_keys
from flyweight.core.notes import note, noted
from flyweight.core.step import Recipe, Step
from flyweight.core.store import Store
from flyweight.core.task import Task
from flyweight.core.weights import restore


def run(recipe: Sequence[Step], model: nn.Module, task: Task, store: Store | None = None) -> nn.Module:
    """Takes the steps of ``recipe`` one after another on a copy of ``model``, and returns the result.

    ``model`` is left as it was, and is the teacher where neither the task nor a step names another. With a
    ``store`` every step's result is kept, and a step whose result is kept is not taken again, so recipes that
    share a prefix share its work and a killed run goes on where it stood. What a step noted is told again with it.
    Each step runs under a seed drawn from its key, so equal recipes give equal models.
    """
    if isinstance(recipe, Step):
        name = type(recipe).__name__
        raise FlyweightError(f"FlyweightError: a recipe is a tuple of steps, and here is a {name}. Give ({name}(…),).")
    steps = tuple(recipe)
    for step in steps:
        if not isinstance(step, Step):
            raise FlyweightError(
                f"FlyweightError: a recipe is made of steps, and {step!r} ({type(step).__name__}) is none. "
                "Did you forget to call it, as in Quantize(bits=8)?"
            )
    keys = recipe_keys(steps, model, task)
    done = agreed(_kept(keys, store))
    _tell(keys[1 : done + 1], store)
    current = _replay(steps[:done], keys[done], model, task, store) if done else copied(model)
    for index in range(done, len(steps)):
        current = _take(steps[index], keys[index], keys[index + 1], current, model, task, store, steps[: index + 1])
    return current


def _take(
    step: Step,
    parent: str,
    key: str,
    current: nn.Module,
    root: nn.Module,
    task: Task,
    store: Store | None,
    done: Recipe,
) -> nn.Module:
    taught = _taught(step, root, task, store)
    if store is None:
        return _edit(step, key, current, taught)
    with store.working(key):
        if agreed(store.has(key)):
            _tell([key], store)
            return _replay(done, key, root, task, store)
        start = time.perf_counter()
        with noted() as told:
            result = _edit(step, key, current, taught)
        store.keep(key, parent, step, result, time.perf_counter() - start, told)
    for text in told:
        note(text)
    return result


def _tell(keys: Sequence[str], store: Store | None) -> None:
    """Tells what the kept steps of ``keys`` noted when they were taken."""
    if store is not None:
        for text in (text for key in keys for text in store.notes(key)):
            note(text)


def _edit(step: Step, key: str, model: nn.Module, task: Task) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(int(key[:8], 16))
        return step.edit(model, task)


def _taught(step: Step, root: nn.Module, task: Task, store: Store | None) -> Task:
    recipes = step.teachers()
    if not recipes:
        return task if task.teacher is not None else dataclasses.replace(task, teacher=_frozen(root))
    found = [_frozen(run(recipe, root, task, store)) for recipe in recipes]
    return dataclasses.replace(task, teacher=found[0] if len(found) == 1 else Ensemble(found))


def _kept(keys: list[str], store: Store | None) -> int:
    if store is None:
        return 0
    return next((i for i in range(len(keys) - 1, 0, -1) if store.has(keys[i])), 0)


def _replay(steps: Recipe, key: str, model: nn.Module, task: Task, store: Store | None) -> nn.Module:
    assert store is not None
    return replay(steps, model, task, store.load(key))


def replay(recipe: Sequence[Step], model: nn.Module, task: Task, state: dict[str, Tensor]) -> nn.Module:
    """The model that ``recipe`` made of ``model``: its structure rebuilt, not trained, its values from ``state``."""
    current = copied(model)
    for step in recipe:
        current = step.replay(current, task, state)
    return restore(current, state).eval()


def _frozen(model: nn.Module) -> nn.Module:
    return copied(model).eval().requires_grad_(False)


class Ensemble(nn.Module):
    """Several teachers as one: ``forward`` returns the outputs of each, stacked as ``(teachers, N, …)``.

    What they agree on is for the loss to say: ``distilled`` averages their softened probabilities.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Any) -> Tensor:
        return torch.stack([answer(member(*inputs), "a teacher") for member in self.members])
