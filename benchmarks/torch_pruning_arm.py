"""Torch-Pruning as its README sets it up, and the masked twin of what it made: the other arm of pruning_coverage.py."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WAY = "pip install --no-deps torch-pruning"


def version() -> str | None:
    """The installed version, None without one."""
    from importlib import metadata

    try:
        return metadata.version("torch-pruning")
    except metadata.PackageNotFoundError:
        return None


def pruned(
    model: nn.Module,
    example: tuple[Tensor, ...],
    ratio: float,
    outputs: tuple[str, ...],
    heads: dict[str, int],
    after: Callable[[nn.Module], None] | None,
    replayed: list[Tensor] | None = None,
) -> tuple[nn.Module, list[Tensor]]:
    """``model`` without ``ratio`` of each group's channels and heads, and the importances that chose them.

    ``outputs`` are the layers to ignore, ``heads`` layer → heads, ``after`` sets the numbers that the model's own code
    holds. ``replayed`` importances are taken in place of the model's own.
    """
    import torch_pruning as tp

    model = copy.deepcopy(model)
    importance, heard = tp.importance.GroupMagnitudeImportance(p=2), []

    def recorded(group: Any) -> Tensor | None:
        found = importance(group) if replayed is None else replayed[len(heard)]
        heard.append(found)
        return found

    # Its example for torchvision's ViT: widths in multiples of the heads of torch's own attention.
    torchs = [m.num_heads for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        pruner = tp.pruner.BasePruner(
            model,
            example,
            importance=recorded,
            global_pruning=False,
            pruning_ratio=ratio,
            ignored_layers=[model.get_submodule(layer) for layer in outputs],
            round_to=max(torchs, default=None),
            num_heads={model.get_submodule(layer): count for layer, count in heads.items()},
            prune_num_heads=bool(heads),
            prune_head_dims=not heads,
            head_pruning_ratio=ratio if heads else 0.0,
            # Its defaults for these two are dictionaries that all pruners share, so each gets its own.
            in_channel_groups={},
            out_channel_groups={},
            output_transform=_scalar,
        )
        if replayed is not None:  # the graph is known by now
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape))
        pruner.step()
    if after is not None:
        after(model)
    return model, heard


def masked_twin(
    model: nn.Module,
    example: tuple[Tensor, ...],
    smaller: nn.Module,
    again: Callable[[nn.Module, list[Tensor]], nn.Module],
    importances: list[Tensor],
) -> tuple[nn.Module | None, str | None]:
    """``model`` with zeros wherever ``smaller`` lost an element of a parameter; or why there is none.

    ``again`` prunes once more by the same importances, a copy each of whose elements tells its place.
    """
    before, now = _statistics(model, example), _statistics(smaller, example)
    if before != now:
        return None, "a norm over channels has fewer of them, so that no masked model computes the same"
    places = dict(again(copy.deepcopy(model).double(), importances).named_parameters(remove_duplicate=False))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in list(twin.named_parameters(remove_duplicate=False)):
            keep = torch.zeros(parameter.numel(), dtype=torch.bool)
            keep[places[name].detach().flatten().long()] = True
            owner, _, leaf = name.rpartition(".")
            masked = torch.where(keep.view(parameter.shape), parameter, 0)
            setattr(twin.get_submodule(owner), leaf, nn.Parameter(masked, parameter.requires_grad))
    return twin, None


def _scalar(found: Any) -> Any:
    """All tensors that a model returns: those of a dictionary are not found otherwise."""
    return list(found.values()) if isinstance(found, dict) else found


def _statistics(model: nn.Module, example: tuple[Tensor, ...]) -> list[Any]:
    """Over how many channels each norm of a forward pass takes its mean."""
    seen: list[Any] = []
    layer, group = F.layer_norm, F.group_norm

    def layer_norm(x: Tensor, shape: Any, *more: Any, **named: Any) -> Tensor:
        seen.append(tuple(shape))
        return layer(x, shape, *more, **named)

    def group_norm(x: Tensor, groups: int, *more: Any, **named: Any) -> Tensor:
        seen.append(x.shape[1] // groups)
        return group(x, groups, *more, **named)

    F.layer_norm, F.group_norm = layer_norm, group_norm
    try:
        with torch.enable_grad():  # else torch's encoder layer takes a kernel that calls neither
            model(*example)
    finally:
        F.layer_norm, F.group_norm = layer, group
    return seen
