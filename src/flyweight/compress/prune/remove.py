"""Removal: what pruning left without a reader leaves the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.couple.dead import dead_units
from flyweight.surgery.couple.rebuild import rebuild_
from flyweight.surgery.couple.remove import remove_
from flyweight.surgery.coupling import Coupling
from flyweight.surgery.walk import matching, within


@dataclass(frozen=True)
class Remove(Step):
    """Takes every channel, neuron and attention head that no layer reads any more out of the model.

    Those are the units of :func:`~flyweight.surgery.couple.couple.couple` whose consumers' weights are all zero, as
    pruning by channels or heads leaves them. The model computes what it did, which is checked on the task's example,
    with fewer parameters and operations. Groups with a parameter in a module that a glob of ``exclude`` matches stay.
    Raises :class:`UnsupportedError` where the model cannot be traced or the smaller one would compute something else,
    and :class:`UnknownNameError` for a glob that matches nothing.
    """

    exclude: tuple[str, ...] = ()

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        coupling = self._coupling(model, task)
        dead = {label: drop for label, drop in dead_units(model, coupling).items() if bool(drop.any())}
        return remove_(model, coupling, dead, task.example) if dead else model

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        return rebuild_(model, self._coupling(model, task), state, task.example)

    def _coupling(self, model: nn.Module, task: Task) -> Coupling:
        left_out = matching(model, self.exclude)
        with torch.random.fork_rng(devices=[]):
            coupling = couple(model, task.example)
        groups = tuple(g for g in coupling.groups if not any(within(s.name, left_out) for s in g.slices))
        return Coupling(groups, coupling.refused)
