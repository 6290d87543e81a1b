"""Taking indices out of parameters, with their chains, and telling the layers their new sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.surgery.chain import detach, links
from flyweight.surgery.coupling import Group
from flyweight.surgery.mask import Mask

Dropped = Mapping[str, Tensor]
"""Group's label → bool ``(units,)``: the units to take away."""


def narrow_(model: nn.Module, groups: Iterable[Group], dropped: Dropped, idle_masks: bool = False) -> None:
    """Takes the units ``dropped`` out of every parameter and buffer.

    A mask that keeps all that is left goes too, unless ``idle_masks`` may stay.
    """
    gone: dict[str, dict[int, set[int]]] = {}
    for group in groups:
        drop = dropped.get(group.label)
        if drop is None or not bool(drop.any()):
            continue
        for at in group.slices:
            out = gone.setdefault(at.name, {}).setdefault(at.dim, set())
            out |= set(at.indices[drop.cpu()].reshape(-1).tolist())
    made: dict[int, tuple[Tensor, Tensor]] = {}
    handled: set[tuple[int, str]] = set()
    for name, dims in gone.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        if (id(module), leaf) not in handled:
            handled.add((id(module), leaf))
            _narrow_one(module, leaf, dims, made)
            if not idle_masks:
                drop_masks_(module, leaf, [mask for mask in masks_on(module, leaf) if bool(mask.keep.all())])
    for owner in {name.rpartition(".")[0] for name in gone}:
        resize_(model.get_submodule(owner))


def resize_(module: nn.Module) -> None:
    """Sets the attributes of a layer of torch.nn to what its parameters say."""
    layer: Any = module
    if isinstance(module, nn.Linear):
        layer.out_features, layer.in_features = _shape(module, "weight")
    elif isinstance(module, nn.modules.conv._ConvNd):
        _resize_convolution(module)
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        told = next((n for n in ("weight", "running_mean") if getattr(module, n) is not None), None)
        layer.num_features = layer.num_features if told is None else _shape(module, told)[0]
    elif isinstance(module, nn.GroupNorm) and module.affine:
        size = module.num_channels // module.num_groups
        layer.num_channels = _shape(module, "weight")[0]
        layer.num_groups = layer.num_channels // size
    elif isinstance(module, nn.Embedding):
        layer.embedding_dim = _shape(module, "weight")[1]
    elif isinstance(module, nn.PReLU):
        layer.num_parameters = _shape(module, "weight")[0]


def _resize_convolution(module: Any) -> None:
    first, second = _shape(module, "weight")[:2]
    if module.groups == 1:
        channels = (first, second) if module.transposed else (second, first)
    else:
        inputs, outputs = module.in_channels // module.groups, module.out_channels // module.groups
        module.groups = first // (inputs if module.transposed else outputs)
        channels = (module.groups * inputs, module.groups * outputs)
    module.in_channels, module.out_channels = channels


def _narrow_one(
    module: nn.Module, name: str, dims: dict[int, set[int]], made: dict[int, tuple[Tensor, Tensor]]
) -> None:
    chain: Any = module.parametrizations[name] if parametrize.is_parametrized(module, name) else None  # type: ignore[index]
    home, leaf = (module, name) if chain is None else (chain, "original")
    old: Tensor = getattr(home, leaf)
    kept = {
        dim: torch.tensor([i for i in range(old.shape[dim]) if i not in out], dtype=torch.int64)
        for dim, out in dims.items()
    }
    if id(old) not in made:
        new = old.detach()
        for dim, indices in kept.items():
            new = new.index_select(dim, indices.to(old.device))
        # The old tensor is kept beside the new one, or its id might be given to another.
        made[id(old)] = old, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
    setattr(home, leaf, made[id(old)][1])
    for link in links(module, name):
        link.narrow(kept)


def masks_on(module: nn.Module, name: str) -> list[Mask]:
    """The masks in the chain on ``module``'s parameter ``name``."""
    return [link for link in links(module, name) if isinstance(link, Mask)]


def drop_masks_(module: nn.Module, name: str, masks: Iterable[Mask]) -> None:
    """Takes ``masks`` out of the chain on ``module``'s parameter ``name``, and the chain if nothing else is on it."""
    for mask in masks:
        detach(module, mask, name)


def _shape(module: nn.Module, name: str) -> torch.Size:
    if parametrize.is_parametrized(module, name):
        module, name = module.parametrizations[name], "original"  # type: ignore[index,assignment]
    tensor: Tensor = getattr(module, name)
    return tensor.shape
