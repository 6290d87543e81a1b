"""Trying whether a model's own code lets a unit go."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.couple.constants import Constant, constants, settings
from flyweight.surgery.couple.follow import Followed
from flyweight.surgery.couple.remove import fitting, outputs
from flyweight.surgery.coupling import Coupling, Group


def tried(coupling: Coupling, followed: Followed, example: tuple[Tensor, ...]) -> Coupling:
    """``coupling`` without the groups whose units a number in the model's code holds in place.

    Of each group that changes such a number the last unit is taken out of a copy: of all at once, and where that fails
    of each alone.
    """
    doubtful: dict[str, Constant] = {}
    for group in coupling.groups:
        changed = [c for c in constants(followed, (group,), _last(group)) if not c.implied]
        if changed:
            # The one that no attribute holds is what the reader has to know.
            bare = [c for c in changed if not any(settings(followed.twin, [c]))]
            doubtful[group.label] = (bare or changed)[0]
    suspects = tuple(group for group in coupling.groups if group.label in doubtful)
    if not suspects or _goes(suspects, followed, example):
        return coupling
    stuck = [group for group in suspects if not _goes((group,), followed, example)]
    refused = dict(coupling.refused)
    for group in stuck:
        held = doubtful[group.label]
        why = (
            f"{held.operation} of {_place(held)} holds the size {held.old} as a number (an attribute of the module or "
            "−1 would do), or divides it at a fixed place"
        )
        for at in group.slices:
            if at.role == "output":
                refused.setdefault(at.name.rpartition(".")[0] or at.name, why)
    return Coupling(tuple(g for g in coupling.groups if g not in stuck), refused)


def silence_(model: nn.Module, group: Group, drop: Tensor) -> None:
    """Sets what reads the units ``drop`` of ``group`` to zero, under its chain."""
    for at in group.slices:
        if at.role == "input":
            owner, _, leaf = at.name.rpartition(".")
            module = model.get_submodule(owner)
            if parametrize.is_parametrized(module, leaf):
                module, leaf = module.parametrizations[leaf], "original"  # type: ignore[index, assignment]
            with torch.no_grad():
                tensor: Tensor = getattr(module, leaf)
                tensor.index_fill_(at.dim, at.indices[drop].reshape(-1).to(tensor.device), 0.0)


def _goes(groups: tuple[Group, ...], followed: Followed, example: tuple[Tensor, ...]) -> bool:
    model = copy.deepcopy(followed.twin)
    dropped = {group.label: _last(group)[group.label] for group in groups}
    for group in groups:
        silence_(model, group, dropped[group.label])
    try:
        return fitting(model, groups, dropped, example, outputs(model, example), followed) is not None
    except UnsupportedError:
        return False


def _last(group: Group) -> dict[str, Tensor]:
    return {group.label: torch.arange(group.units) == group.units - 1}


def _place(held: Constant) -> str:
    return f"layer {held.modules[0]!r}" if held.modules[0] else "the model's own forward"
