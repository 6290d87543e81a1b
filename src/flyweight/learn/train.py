"""The step that trains."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import nn

from flyweight.core.errors import FlyweightError
from flyweight.core.step import Recipe, Step
from flyweight.core.takes import takes
from flyweight.core.task import Augment, Task
from flyweight.learn.context import Objective
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import Optimizer, adam


@dataclass(frozen=True)
class Train(Step):
    """Trains the model on ``task.data.train`` with the task's loop, or ours.

    ``loss`` None is the task's own loss; else an objective such as ``distilled()``. ``augment`` are applied to the
    first input, one after another. ``batch_size`` is the number of examples behind one optimizer step, however
    many processes or pieces the loop spreads it over. ``seed`` decides the order of examples and all randomness.
    """

    epochs: int
    optimizer: Optimizer = adam()  # noqa: RUF009 (frozen)
    loss: Objective | None = None
    augment: tuple[Augment, ...] = ()
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.augment, list):
            object.__setattr__(self, "augment", tuple(self.augment))
        for name, least in (("epochs", 0), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise _wrong(name, value, f"Give a whole number, {least} or more, as in {name}={max(least, 5)}.")
        if isinstance(self.optimizer, type) or not callable(self.optimizer) or not hasattr(self.optimizer, "factor"):
            raise _wrong("optimizer", self.optimizer, "Give adam(lr=1e-3), sgd(lr=0.1), or your own of that form.")
        if not (self.loss is None or takes(self.loss, 3)):
            way = "Give an objective such as distilled(), or None: the task's own loss."
            if takes(self.loss, 2):
                way = (
                    "An objective is called with (forward, batch, context): a penalty such as l1() goes into "
                    "loss=penalized(l1()), and a loss of outputs and targets into the task."
                )
            raise _wrong("loss", self.loss, way)
        if not isinstance(self.augment, tuple):
            raise _wrong("augment", self.augment, "Give a tuple, as in augment=(flip(), translate()).")
        for one in self.augment:
            if isinstance(one, type) or not callable(one):
                raise _wrong("augment", one, "Each must be a callable of a batch of inputs, such as flip(p=0.5).")

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        """Returns ``model``, trained."""
        return (task.fit or Fit())(model, task, self)

    def teachers(self) -> tuple[Recipe, ...]:
        """The recipes that the objective, or one inside it, names as teachers."""
        named = _named(self.loss)
        if len(named) > 1:
            raise FlyweightError(
                f"FlyweightError: Train(loss={type(self.loss).__name__}(…)) has {len(named)} objectives that name "
                "teachers, and a task has one teacher. Name all of them in one objective: several form an ensemble."
            )
        return named[0] if named else ()


def _named(objective: Any) -> list[tuple[Recipe, ...]]:
    if not dataclasses.is_dataclass(objective):
        return []
    own = tuple(getattr(objective, "teachers", ()) or ())
    inside = [getattr(objective, f.name) for f in dataclasses.fields(objective) if f.name != "teachers"]
    found = [own] if own else []
    for value in inside:
        for one in value if isinstance(value, tuple) else (value,):
            found += [names for names in _named(one) if names not in found]
    return found


def _wrong(name: str, value: Any, way: str) -> FlyweightError:
    return FlyweightError(f"FlyweightError: Train got {name}={value!r}. {way}")
