"""Trying whether a model's own code lets a unit go."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.couple.constants import Constant, constants, settings
from flyweight.surgery.couple.follow import Followed
from flyweight.surgery.couple.narrow import Dropped
from flyweight.surgery.couple.remove import cut_, difference, fitting, outputs, under_noise
from flyweight.surgery.coupling import Coupling, Group

_GOLDEN = 0.618034
"""Multiples of it, modulo 1, lie apart from each other."""


def tried(coupling: Coupling, followed: Followed, example: tuple[Tensor, ...]) -> Coupling:
    """``coupling`` without the groups that the model's code holds in place.

    Units are taken out of a copy, of all groups at once, and where that fails the last of each alone. Where that
    changes a number in the code, attributes are set; of the other groups no number is seen to change, but code may
    work one out of another tensor's shape.
    """
    apart = _apart(coupling.groups)
    doubtful: dict[str, Constant] = {}
    # Where nothing changes with some of each gone, nothing does with one.
    changes = any(not c.implied for c in constants(followed, coupling.groups, apart))
    for group in coupling.groups if changes else ():
        changed = [c for c in constants(followed, (group,), _last(group)) if not c.implied]
        if changed:
            # The one that no attribute holds is what the reader has to know.
            bare = [c for c in changed if not any(settings(followed.twin, [c]))]
            doubtful[group.label] = (bare or changed)[0]
    suspects = tuple(group for group in coupling.groups if group.label in doubtful)
    if suspects and _goes(coupling.groups, apart, followed, example):
        return coupling
    stuck = _stuck(suspects, doubtful, followed, example)
    plain = tuple(group for group in coupling.groups if group.label not in doubtful)
    if plain and _stopped(plain, apart, followed, example) is not None:
        for group in plain:
            why = _stopped((group,), _last(group), followed, example)
            # A number that a −1 works out may stand in an attribute too.
            if why is not None and not _goes((group,), _last(group), followed, example):
                stuck[group.label] = f"without some of its units {why} (take sizes from the tensor that is shaped)"
    if not stuck:
        return coupling
    refused = dict(coupling.refused)
    for group in coupling.groups:
        for at in group.slices if group.label in stuck else ():
            if at.role == "output":
                refused.setdefault(at.name.rpartition(".")[0] or at.name, stuck[group.label])
    return Coupling(tuple(g for g in coupling.groups if g.label not in stuck), refused)


def _stuck(
    suspects: tuple[Group, ...], doubtful: dict[str, Constant], followed: Followed, example: tuple[Tensor, ...]
) -> dict[str, str]:
    """Label → why, of those ``suspects`` that do not go whatever is set."""
    last = {label: drop for group in suspects for label, drop in _last(group).items()}
    if not suspects or _goes(suspects, last, followed, example):
        return {}
    return {g.label: _held(doubtful[g.label]) for g in suspects if not _goes((g,), last, followed, example)}


def _stopped(
    groups: tuple[Group, ...], dropped: Dropped, followed: Followed, example: tuple[Tensor, ...]
) -> str | None:
    """What the model does wrong without the units ``dropped`` of ``groups``, or None."""
    model = _silent(groups, dropped, followed)
    inputs = under_noise(example, torch.Generator().manual_seed(0))
    try:
        wanted = outputs(model, inputs, 0)
    except Exception:  # noise may have led out of a table
        inputs = example
        wanted = outputs(model, inputs, 0)
    try:
        return difference(cut_(model, groups, dropped, ()), inputs, wanted, 0)
    except UnsupportedError as error:
        return str(error)


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


def _goes(groups: tuple[Group, ...], dropped: Dropped, followed: Followed, example: tuple[Tensor, ...]) -> bool:
    model = _silent(groups, dropped, followed)
    dropped = {group.label: dropped[group.label] for group in groups}
    try:
        return fitting(model, groups, dropped, example, outputs(model, example), followed) is not None
    except UnsupportedError:
        return False


def _silent(groups: tuple[Group, ...], dropped: Dropped, followed: Followed) -> nn.Module:
    model = copy.deepcopy(followed.twin)
    for group in groups:
        silence_(model, group, dropped[group.label])
    return model


def _apart(groups: tuple[Group, ...]) -> dict[str, Tensor]:
    """The last units of each group, a fraction that differs from group to group: two sizes that code takes for one, or
    one for a multiple of the other, would agree by chance. Of heads one unit: where one is left, any setting may do."""
    dropped = {}
    for number, group in enumerate(groups):
        count = 1 if group.kind == "head" else round((0.5 + _GOLDEN * number) % 1 * group.units)
        dropped[group.label] = torch.arange(group.units) >= group.units - min(max(count, 1), group.units - 1)
    return dropped


def _last(group: Group) -> dict[str, Tensor]:
    return {group.label: torch.arange(group.units) == group.units - 1}


def _held(held: Constant) -> str:
    return (
        f"{held.operation} of {_place(held)} holds the size {held.old} as a number (an attribute of the module or −1 "
        f"would do), or divides it at a fixed place{held.line}"
    )


def _place(held: Constant) -> str:
    return f"layer {held.modules[0]!r}" if held.modules[0] else "the model's own forward"
