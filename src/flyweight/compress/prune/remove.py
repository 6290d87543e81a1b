"""Removal: what pruning left without a reader leaves the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.surgery.chain import learning
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.couple.dead import dead_units
from flyweight.surgery.couple.narrow import drop_masks_, masks_on
from flyweight.surgery.couple.rebuild import rebuild_
from flyweight.surgery.couple.remove import remove_
from flyweight.surgery.coupling import Coupling
from flyweight.surgery.skip import remove_skips_
from flyweight.surgery.walk import matching, within


@dataclass(frozen=True)
class Remove(Step):
    """Takes every channel, neuron and attention head that no layer reads any more, and masked layers, out of the model.

    Units are those of :func:`~flyweight.surgery.couple.couple.couple` whose consumers' weights are all zero, as pruning
    by channels or heads leaves them; layers are those whose gate is shut. The model computes what it did, which is
    checked on the task's example, with fewer parameters and operations; masks that keep all that is left go too. Units
    that a module makes or carries that a glob of ``exclude`` matches stay.
    Raises :class:`UnsupportedError` where a training or ``Settle`` is still to decide what goes, the model cannot be
    traced, or the smaller one would compute something else, and :class:`UnknownNameError` for a glob that matches
    nothing.
    """

    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.exclude, list):
            object.__setattr__(self, "exclude", tuple(self.exclude))

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        _check_decided(model)
        matching(model, self.exclude)
        remove_skips_(model)
        coupling = self._coupling(model, task)
        dead = {label: drop for label, drop in dead_units(model, coupling).items() if bool(drop.any())}
        model = remove_(model, coupling, dead, task.example)
        _drop_idle(model, coupling)
        return model

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        remove_skips_(model)
        return rebuild_(model, self._coupling(model, task), state, task.example)

    def _coupling(self, model: nn.Module, task: Task) -> Coupling:
        left_out = matching(model, self.exclude)
        with torch.random.fork_rng(devices=[]):
            coupling = couple(model, task.example)
        groups = tuple(
            g for g in coupling.groups if not any(within(s.name, left_out) for s in g.slices if s.role != "input")
        )
        return Coupling(groups, coupling.refused)


def _drop_idle(model: nn.Module, coupling: Coupling) -> None:
    """Takes masks that keep everything off groups that lost nothing too: a later step may move a batch-norm to another
    name, by which loading would not find its mask again."""
    for name in dict.fromkeys(at.name for group in coupling.groups for at in group.slices):
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        drop_masks_(module, leaf, [mask for mask in masks_on(module, leaf) if bool(mask.keep.all())])


def _check_decided(model: nn.Module) -> None:
    for name, _, parameter, link in learning(model):
        raise UnsupportedError(
            f"UnsupportedError: Remove takes out what is masked, and what is, {type(link).__name__} on "
            f"{f'{name}.{parameter}'!r} still learns. Put Settle() before Remove()."
        )
    for name, module in model.named_modules():
        over = getattr(module, "over", None)
        if isinstance(over, Tensor) and not bool(over):
            owner = name.partition(".parametrizations")[0]
            raise UnsupportedError(
                f"UnsupportedError: Remove takes out what is masked, and what is, {type(module).__name__} at {owner!r} "
                f"has yet to decide in training ({module.extra_repr()}). Take Train(epochs=…) between the two steps."
            )
