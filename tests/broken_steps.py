"""Steps that each break one clause of the contract, for the tests of ``check_step``; at the top of a module, for JSON
finds them by name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import nn

from flyweight.core.step import Step

_calls = itertools.count()


@dataclass(frozen=True)
class Nothing(Step):
    """Leaves the model as it is: what keeps the contract, and promises in vain."""

    def edit(self, model, task):
        return model


@dataclass(frozen=True)
class EditsInPlace(Step):
    def __call__(self, model, task):
        return self.edit(model, task)

    def edit(self, model, task):
        with torch.no_grad():
            next(model.parameters()).mul_(0.5)
        return model


@dataclass(frozen=True)
class EditsTheTask(Step):
    def edit(self, model, task):
        with torch.no_grad():
            next(task.model.parameters()).mul_(0.5)
        return model


@dataclass(frozen=True)
class NeverTheSame(Step):
    def edit(self, model, task):
        with torch.no_grad():
            next(model.parameters()).add_(next(_calls))
        return model


class Scaled(nn.Module):
    def __init__(self, model, factor):
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x):
        return self.model(x) * self.factor


@dataclass(frozen=True)
class ForgetsOnReplay(Step):
    """Its factor stands in no state dict."""

    def edit(self, model, task):
        return Scaled(model, 0.5).train(model.training)

    def replay(self, model, task, state):
        return Scaled(model, 1.0)


@dataclass(frozen=True)
class CannotReplay(Step):
    """It has no ``replay``, and changes the structure."""

    def edit(self, model, task):
        return Scaled(model, 0.5).train(model.training)


@dataclass(frozen=True)
class Widens(Step):
    def edit(self, model, task):
        return nn.Sequential(model, nn.Linear(4, 5)).train(model.training)


@dataclass(frozen=True)
class LeavesTraining(Step):
    def edit(self, model, task):
        return model.train()


@dataclass
class Melted(Step):
    def edit(self, model, task):
        return model


@dataclass(frozen=True)
class Sprawling(Step):
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0
    f: int = 0
    g: int = 0

    def edit(self, model, task):
        return model


@dataclass(frozen=True)
class Unwritable(Step):
    """What comes back from JSON is another."""

    sizes: tuple[int, ...] = (1,)

    def __post_init__(self):
        object.__setattr__(self, "sizes", (*self.sizes, 0))

    def edit(self, model, task):
        return model
