"""A state dict in a safetensors file, and back: never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from flyweight.core.atomic import atomic_path
from flyweight.core.errors import StoreError


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes ``state`` to ``path`` atomically; entries that share one storage are written once and named."""
    first: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    tensors: dict[str, Tensor] = {}
    alias: dict[str, str] = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in first:
            alias[name] = first[place]
        else:
            first[place] = name
            tensors[name] = tensor.detach().cpu().contiguous().clone()
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"alias": json.dumps(alias)})


def load_state(path: Path) -> dict[str, Tensor]:
    """Reads what :func:`save_state` wrote; raises :class:`StoreError` for a damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            alias = json.loads((file.metadata() or {}).get("alias", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(
            f"StoreError: {path} holds no whole model ({error}). Delete it; the same command makes it again."
        ) from error
    state.update({name: state[source] for name, source in alias.items()})
    return state


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Loads ``state`` into ``model``, every entry, bit for bit; raises :class:`StoreError` where they do not fit."""
    try:
        model.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise StoreError(
            f"StoreError: the kept values do not fit the model that the recipe rebuilds: {error}. "
            "Was the model's code changed? Use another --out, or delete the folder's steps/."
        ) from error
    return model
