"""The structure that removal left, from the shapes of what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import StoreError
from flyweight.surgery.couple.narrow import drop_masks_, masks_on
from flyweight.surgery.couple.remove import remove_
from flyweight.surgery.couple.trial import silence_
from flyweight.surgery.coupling import Coupling


def rebuild_(
    model: nn.Module, coupling: Coupling, state: Mapping[str, Tensor], example: tuple[Tensor, ...]
) -> nn.Module:
    """Takes so many units out of each group of ``model`` that its parameters have the shapes of ``state``.

    Which units go does not matter, for the values come from ``state``: the last ones do, after what reads them was set
    to zero. Masks that ``state`` has not are dropped. Raises :class:`StoreError` where no number of units gives these
    shapes.
    """
    left = _left(coupling, _sizes(model, coupling, state))
    dropped = {
        group.label: torch.arange(group.units) >= left[group.label]
        for group in coupling.groups
        if left[group.label] < group.units
    }
    for group in coupling.groups:
        if group.label in dropped:
            silence_(model, group, dropped[group.label])
    model = remove_(model, coupling, dropped, example, idle_masks=True)
    _drop_masks(model, state)
    return model


def _sizes(model: nn.Module, coupling: Coupling, state: Mapping[str, Tensor]) -> dict[tuple[str, int], tuple[int, int]]:
    """Of each axis that a group touches: how long it is, and how long it shall be."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    plain = _plain(state)
    for at in (s for group in coupling.groups for s in group.slices):
        owner, _, leaf = at.name.rpartition(".")
        module = model.get_submodule(owner)
        kept = plain.get(at.name, plain.get(_bare(at.name)))
        if kept is not None:
            own: Tensor = getattr(module, leaf)
            found[at.name, at.dim] = own.shape[at.dim], kept.shape[at.dim]
    return found


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` by the names that parameters have without chains; and, unless that is another's, without wrappers."""
    named = {}
    for key, tensor in state.items():
        owner, chained, rest = key.rpartition("parametrizations.")
        leaf, _, last = rest.partition(".")
        named[owner + leaf if chained and last == "original" else key] = tensor
    for name, tensor in list(named.items()):
        named.setdefault(_bare(name), tensor)
    return named


def _bare(name: str) -> str:
    """A later step may have put the layer into an ``IntegerLayer`` or a ``Skip``."""
    return ".".join(part for part in name.split(".") if part not in ("layer", "inner"))


def _left(coupling: Coupling, sizes: dict[tuple[str, int], tuple[int, int]]) -> dict[str, int]:
    """How many units of each group stay: each axis loses the sum of what its groups lose."""
    parts: dict[tuple[str, int], dict[str, int]] = {}
    for group in coupling.groups:
        for at in group.slices:
            parts.setdefault((at.name, at.dim), {})[group.label] = at.indices.shape[1]
    lost: dict[str, int] = {}
    units = {group.label: group.units for group in coupling.groups}
    changed = True
    while changed:
        changed = False
        for axis, (old, new) in sizes.items():
            open_ = [label for label in parts[axis] if label not in lost]
            rest = old - new - sum(lost[label] * each for label, each in parts[axis].items() if label in lost)
            if rest == 0:
                settled = dict.fromkeys(open_, 0)
            elif len(open_) == 1 and rest % parts[axis][open_[0]] == 0:
                settled = {open_[0]: rest // parts[axis][open_[0]]}
            elif len(open_) > 1 and rest > 0:
                continue
            else:
                raise StoreError(_misfit(axis, old, new))
            for label, count in settled.items():
                if not 0 <= count < units[label]:
                    raise StoreError(_misfit(axis, old, new))
            lost.update(settled)
            changed |= bool(settled)
    unknown = [label for label in units if label not in lost]
    if unknown:
        raise StoreError(
            f"StoreError: the kept values do not tell how many units of {unknown[0]!r} were removed. Take Remove() "
            "later in the recipe, behind the step that makes other parameters of its weights."
        )
    return {label: units[label] - lost[label] for label in units}


def _drop_masks(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    keys = {_bare(key) for key in state}
    for name, module in list(model.named_modules()):
        if not parametrize.is_parametrized(module):
            continue
        prefix = f"{name}." if name else ""
        for leaf in list(module.parametrizations):
            masks = masks_on(module, leaf)
            here = _bare(f"{prefix}parametrizations.{leaf}.original").removesuffix("original")
            if f"{here}original" not in keys:
                drop_masks_(module, leaf, masks)
                continue
            places = {key[len(here) :].partition(".")[0] for key in keys if key.startswith(here) and ".keep" in key}
            drop_masks_(module, leaf, masks[len(places) :])


def _misfit(axis: tuple[str, int], old: int, new: int) -> str:
    return (
        f"StoreError: {axis[0]!r} has {old} indices along dimension {axis[1]}, and the kept values have {new}: no "
        "units that can go make up for that. Was the model's code changed? Use another --out, or delete the folder's "
        "steps/."
    )
