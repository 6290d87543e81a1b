"""A stretch of a training, with the learning rates that the whole has there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import nn

from flyweight.learn.optimizers import Optimizer
from flyweight.learn.train import Train


@dataclass(frozen=True)
class part_of:
    """``whole``, of a training of ``epochs`` epochs, in those from ``first`` up to ``last``.

    Its learning rate is that of ``whole`` at the same place; what it remembers of gradients starts anew.
    """

    whole: Optimizer
    epochs: int
    first: int
    last: int

    @property
    def clip(self) -> float | None:
        """That of ``whole``."""
        return self.whole.clip

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        return self.whole(model)

    def factor(self, step: int, total: int) -> float:
        """The factor of the learning rate at ``step`` (from 0) of the stretch's ``total``."""
        each = total / (self.last - self.first)
        return self.whole.factor(step + round(each * self.first), round(each * self.epochs))


def stretch(train: Train, first: int, last: int) -> Train:
    """The epochs of ``train`` from ``first`` up to ``last`` as a training of its own; ``train`` if that is all."""
    if (first, last) == (0, train.epochs):
        return train
    optimizer = part_of(train.optimizer, train.epochs, first, last)
    return dataclasses.replace(train, epochs=last - first, optimizer=optimizer)
