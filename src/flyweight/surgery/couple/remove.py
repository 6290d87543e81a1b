"""Taking units out of a model for good."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from flyweight.core.errors import ShapeError, UnsupportedError, unknown_name
from flyweight.surgery.couple.attention import free_heads_
from flyweight.surgery.couple.constants import Choice, Constant, constants, settings
from flyweight.surgery.couple.follow import Followed, follow
from flyweight.surgery.couple.foreseen import as_foreseen
from flyweight.surgery.couple.line import line_of
from flyweight.surgery.couple.narrow import Dropped, narrow_
from flyweight.surgery.coupling import Coupling, Group
from flyweight.surgery.device import on_device
from flyweight.surgery.modes import evaluated

TOLERANCE = 1e-4
"""Relative to the largest output: sums of fewer terms are rounded otherwise."""

_NOISY = 4
"""So often is a model also asked under noise: what a ReLU hides once, it shows another time."""


def remove_(
    model: nn.Module, coupling: Coupling, dropped: Dropped, example: tuple[Tensor, ...], idle_masks: bool = False
) -> nn.Module:
    """Takes the units ``dropped`` (group's label → bool ``(units,)``) out of ``model``, which is returned.

    Parameters, buffers and what their chains hold are cut, and layers are told their new sizes; where the model's own
    code holds a size (``self.heads``), that attribute of its module is set. Masks that keep all that is left of their
    weight go too, unless ``idle_masks`` may stay. Of what the model computes on ``example``
    nothing changes, by more than :data:`TOLERANCE` of the largest output: that is tried on a copy first, and where it
    fails :class:`UnsupportedError` names the group and ``model`` is as it was.
    """
    groups = _chosen(coupling, dropped)
    if not groups:
        return model
    wanted = outputs(model, example)
    found = fitting(model, groups, dropped, example, wanted)
    if found is None:
        raise UnsupportedError(_refusal(model, groups, dropped, example, wanted))
    return cut_(model, groups, dropped, found, idle_masks)


def _chosen(coupling: Coupling, dropped: Dropped) -> tuple[Group, ...]:
    known = {group.label: group for group in coupling.groups}
    for label, drop in dropped.items():
        if label not in known:
            raise unknown_name("group of coupled units", label, known)
        units = known[label].units
        if drop.dtype != torch.bool or tuple(drop.shape) != (units,):
            raise ShapeError(
                f"ShapeError: group {label!r} has {units} units, and what to drop of it is {drop.dtype} of shape "
                f"{tuple(drop.shape)}. Give a bool for each unit."
            )
        if bool(drop.all()):
            raise UnsupportedError(
                f"UnsupportedError: all {units} units of group {label!r} would go, and nothing would be left of the "
                "layer. Keep one at least."
            )
    return tuple(group for group in coupling.groups if group.label in dropped and bool(dropped[group.label].any()))


def fitting(
    model: nn.Module,
    groups: tuple[Group, ...],
    dropped: Dropped,
    example: tuple[Tensor, ...],
    wanted: list[Tensor],
    followed: Followed | None = None,
) -> Choice | None:
    """The attributes to set so that the smaller model computes the same; None where none do.

    With heads several may, for one that is left is broadcast to any number: the first that also make it the model that
    the trace foresees, if any does. With ``followed``, a trace of ``model``, it has to be that one.
    """
    heads = any(group.kind == "head" for group in groups)
    trace = follow(model, example) if followed is None and heads else followed
    same: Choice | None = None
    for choice in _choices(model, groups, dropped, example, trace):
        smaller = cut_(copy.deepcopy(model), groups, dropped, choice)
        if difference(smaller, example, wanted) is not None:
            continue
        if trace is None or as_foreseen(smaller, groups, dropped, trace, example):
            return choice
        same = choice if same is None else same
        if not heads:
            break
    return same if followed is None else None


def _choices(
    model: nn.Module,
    groups: tuple[Group, ...],
    dropped: Dropped,
    example: tuple[Tensor, ...],
    followed: Followed | None,
) -> Iterator[Choice]:
    heads = any(group.kind == "head" for group in groups)
    if not heads:
        yield ()
    changed = constants(followed or follow(model, example), groups, dropped)
    yield from settings(model, changed)
    if heads:
        yield ()


def cut_(
    model: nn.Module, groups: tuple[Group, ...], dropped: Dropped, choice: Choice, idle_masks: bool = False
) -> nn.Module:
    """Takes the units out and sets the attributes of ``choice``, unchecked."""
    free_heads_(model, groups, dropped)
    narrow_(model, groups, dropped, idle_masks)
    for setting in choice:
        setting.set_(model)
    return model


def outputs(model: nn.Module, example: tuple[Tensor, ...], noisy: int = _NOISY) -> list[Tensor]:
    """What ``model`` makes of the example, and of ``noisy`` under noise, for an example may well be all zeros."""
    noise = torch.Generator().manual_seed(0)
    varied = [under_noise(example, noise) for _ in range(noisy)]
    with evaluated(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # a model that draws numbers draws the same ones each time
        out = [model(*on_device(inputs, model)) for inputs in (example, *varied)]
    return [t for t in pytree.tree_leaves(out) if isinstance(t, Tensor)]


def under_noise(example: tuple[Tensor, ...], noise: torch.Generator) -> tuple[Tensor, ...]:
    """Floats under noise; tables of whole numbers turned around, so that they stay in range."""
    return tuple(_noisy(tensor, noise) for tensor in example)


def _noisy(tensor: Tensor, noise: torch.Generator) -> Tensor:
    if tensor.is_floating_point():
        return tensor + torch.randn(tensor.shape, generator=noise).to(tensor)
    if tensor.dim() < 2:
        return tensor
    return tensor.roll(int(torch.randint(tensor.shape[-1], (), generator=noise)), -1)


def difference(model: nn.Module, example: tuple[Tensor, ...], wanted: list[Tensor], noisy: int = _NOISY) -> str | None:
    """In what the outputs of ``model`` are not ``wanted``, its earlier ones of as many ``noisy`` examples, or None."""
    try:
        got = outputs(model, example, noisy)
    except Exception as error:
        told = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        return f"it cannot run any more{line_of(error)}: {told}"
    for mine, his in zip(got, wanted, strict=True):
        if mine.shape != his.shape:
            return f"an output of shape {tuple(his.shape)} becomes {tuple(mine.shape)}"
        finite = his.isfinite()  # noise may have led out of a logarithm's domain
        if not finite.any():
            continue
        off = (mine[finite].double() - his[finite].double()).abs().max().item()
        scale = his[finite].double().abs().max().item()
        if not off <= TOLERANCE * scale + 1e-12:
            return f"its outputs change by {off / max(scale, 1e-12):.2g} of their largest"
    return None


def _refusal(
    model: nn.Module, groups: tuple[Group, ...], dropped: Dropped, example: tuple[Tensor, ...], wanted: list[Tensor]
) -> str:
    """Names the first group that cannot go alone, and why."""
    name, why, changed = groups[0].label, "", list[Constant]()
    for group in groups:
        if fitting(model, (group,), dropped, example, wanted) is None:
            told = difference(cut_(copy.deepcopy(model), (group,), dropped, ()), example, wanted)
            name, why = group.label, told or ""
            found = constants(follow(model, example), (group,), dropped)
            changed = [constant for constant in found if not constant.implied]
            break
    else:
        why = difference(cut_(copy.deepcopy(model), groups, dropped, ()), example, wanted) or ""
    held = next((c for c in changed if not any(settings(model, [c]))), next(iter(changed), None))
    place = (
        ""
        if held is None
        else (
            f" {held.operation} in {held.modules[0] or 'its forward'!r} holds the size {held.old}, which had to become "
            f"{held.new}."
        )
    )
    way = (
        "Remove before Quantize, which writes sizes into its graph."
        if isinstance(model, fx.GraphModule)
        else "Take that size from the tensor's shape, or from an attribute of the module, or exclude the layer."
    )
    return f"UnsupportedError: units of {name!r} cannot be removed from {type(model).__name__}, for {why}.{place} {way}"
