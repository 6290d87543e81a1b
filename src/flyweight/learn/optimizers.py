"""Optimizers as recipes know them: frozen settings that build a torch optimizer and tell the rate of each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from flyweight.core.errors import FlyweightError
from flyweight.learn.schedules import cosine

Schedule = Callable[[float], float]
"""``fraction of training done -> factor of the top learning rate``."""


class Optimizer(Protocol):
    """What ``Train.optimizer`` takes: ``adam``, ``sgd``, or the user's own."""

    @property
    def clip(self) -> float | None:
        """The largest norm of all gradients together; None leaves them as they are."""

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer of ``model``'s trainable parameters."""

    def factor(self, step: int, total: int) -> float:
        """What to multiply the learning rate with at ``step`` (from 0) of ``total``."""


@dataclass(frozen=True)
class adam:
    """Adam with decoupled weight decay (AdamW).

    ``lr`` is the top rate, ``schedule`` its course, after a linear rise over the first ``warmup`` of all steps
    (a fraction). ``weight_decay`` acts on weights of two or more dimensions, never on biases or normalization.
    ``clip`` bounds the norm of the gradient. Source: Loshchilov and Hutter, 2019, arXiv:1711.05101, algorithm 2.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = cosine
    warmup: float = 0.0
    clip: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        _check(self)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise FlyweightError(
                f"FlyweightError: adam got betas={self.betas!r}. "
                "Give two numbers from 0 to below 1, as in (0.9, 0.999)."
            )

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = _groups(model, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, fused=_can_fuse(groups) or None)

    def factor(self, step: int, total: int) -> float:
        """The factor of ``lr`` at ``step`` (from 0) of ``total``."""
        return _factor(self.schedule, self.warmup, step, total)


@dataclass(frozen=True)
class sgd:
    """Stochastic gradient descent with Nesterov momentum; ``momentum=0`` is plain SGD.

    ``lr`` is the top rate, ``schedule`` its course, after a linear rise over the first ``warmup`` of all steps
    (a fraction). ``weight_decay`` acts on weights of two or more dimensions, never on biases or normalization.
    ``clip`` bounds the norm of the gradient.
    """

    lr: float = 0.1
    weight_decay: float = 0.0
    schedule: Schedule = cosine
    warmup: float = 0.0
    clip: float | None = None
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check(self)
        if not 0 <= self.momentum < 1:
            raise FlyweightError(
                f"FlyweightError: sgd got momentum={self.momentum!r}. Give a number from 0 to below 1."
            )

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = _groups(model, self.weight_decay)
        return torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0, fused=_can_fuse(groups) or None
        )

    def factor(self, step: int, total: int) -> float:
        """The factor of ``lr`` at ``step`` (from 0) of ``total``."""
        return _factor(self.schedule, self.warmup, step, total)


def _check(settings: adam | sgd) -> None:
    name = type(settings).__name__
    if not 0 < settings.lr < float("inf"):
        raise FlyweightError(
            f"FlyweightError: {name} got lr={settings.lr!r}. Give a learning rate above 0, as in lr=1e-3."
        )
    if not 0 <= settings.weight_decay < float("inf"):
        raise FlyweightError(f"FlyweightError: {name} got weight_decay={settings.weight_decay!r}. Give 0 or more.")
    if not callable(settings.schedule) or isinstance(settings.schedule, type):
        raise FlyweightError(
            f"FlyweightError: {name} got schedule={settings.schedule!r}, which maps no fraction of training to a "
            "factor. Give a function of flyweight.learn.schedules: cosine, constant or one_cycle() (with its brackets)."
        )
    if not 0 <= settings.warmup < 1:
        raise FlyweightError(
            f"FlyweightError: {name} got warmup={settings.warmup!r}. Give a fraction of all steps, from 0 to below 1, "
            "as in warmup=0.05."
        )
    if settings.clip is not None and not settings.clip > 0:
        raise FlyweightError(f"FlyweightError: {name} got clip={settings.clip!r}. Give a norm above 0, or None.")


def _factor(schedule: Schedule, warmup: float, step: int, total: int) -> float:
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / (rise + 1) * schedule(0.0)
    return schedule((step - rise) / max(1, total - rise))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    spared = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim < 2 or name == "bias" or "Norm" in type(module).__name__
    }
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise FlyweightError(
            f"FlyweightError: {type(model).__name__} has no parameter to train: it has none, or all are frozen. "
            "Set requires_grad on those that shall learn, or leave out the training step."
        )
    decayed = [p for p in trained if id(p) not in spared]
    plain = [p for p in trained if id(p) in spared]
    groups = ({"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _can_fuse(groups: list[dict[str, Any]]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
