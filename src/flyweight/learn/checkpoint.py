"""Training in progress, kept in one file: after a kill, the run goes on to bitwise the same end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from flyweight.core.atomic import atomic_path
from flyweight.core.errors import StoreError


def save_progress(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, plain: dict[str, Any]) -> None:
    """Writes model, optimizer and ``plain`` JSON to ``path``, atomically.

    Of the model: parameters, all buffers, those too that its state dict leaves out, and which modules are in eval mode.
    """
    tensors = {f"model.{name}": tensor for name, tensor in _tensors(model).items()}
    numbers: dict[str, Any] = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
                numbers[f"{index}.{name}"] = {"device": value.device.type}
            else:
                numbers[f"{index}.{name}"] = {"value": value}
    told = {"optimizer": numbers, "eval": [n for n, m in model.named_modules() if not m.training], "plain": plain}
    with atomic_path(path) as temporary:
        save_file(
            {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()},
            temporary,
            metadata={"progress": json.dumps(told)},
        )


def load_progress(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Restores what :func:`save_progress` kept, in place, and returns its ``plain``."""
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"StoreError: {path} holds no whole checkpoint ({error}). Delete it; the training then starts anew."
        ) from error
    _restore_model(model, {n[6:]: t for n, t in tensors.items() if n.startswith("model.")}, set(told["eval"]))
    parameters = _parameters(optimizer)
    for place, kept in told["optimizer"].items():
        index, name = place.split(".", 1)
        parameter = parameters[int(index)]
        if "device" not in kept:
            optimizer.state[parameter][name] = kept["value"]
            continue
        value = tensors[f"optimizer.{place}"].to(kept["device"] if kept["device"] == "cpu" else parameter.device)
        if value.shape == parameter.shape:  # the strides of the parameter, as the optimizer itself would choose
            value = torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format).copy_(value)
        optimizer.state[parameter][name] = value.detach()
    return told["plain"]


@torch.no_grad()
def _restore_model(model: nn.Module, kept: dict[str, Tensor], evaluated: set[str]) -> None:
    here = _tensors(model)
    device = next(iter(here.values())).device if here else torch.device("cpu")
    for name, value in kept.items():
        if name in here and here[name].shape == value.shape:
            here[name].copy_(value)
            continue
        owner, _, leaf = name.rpartition(".")  # a buffer that came into being, or grew, in training
        model.get_submodule(owner)._buffers[leaf] = value.to(here[name].device if name in here else device)
    model.load_state_dict(kept, strict=False)  # for the modules that read their buffers when they are loaded
    for name, module in model.named_modules():
        module.training = name not in evaluated


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
