"""The values that a pruned network computes with, kept in a file apart from how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn


def keep(model: nn.Module, path: Path) -> dict[str, Any]:
    """Writes the values that ``model`` computes with, embeddings in halves; says how many of its matrices' are zero."""
    from safetensors.torch import save_file
    from torch.nn.utils import parametrize

    plain = {}
    for name, module in model.cpu().named_modules():
        if "parametrizations" in name.split("."):
            continue
        keys = [*dict(module.named_parameters(recurse=False)), *dict(module.named_buffers(recurse=False))]
        keys = [key for key in keys if key not in module._non_persistent_buffers_set]
        keys += list(module.parametrizations) if parametrize.is_parametrized(module) else []
        for key in keys:
            value = getattr(module, key).detach()
            half = isinstance(module, nn.Embedding)
            plain[f"{name}.{key}".lstrip(".")] = (value.half() if half else value).contiguous().clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(plain, path)
    weights = [v for v in plain.values() if v.dim() > 1]
    return {"values": path.name, "zeros": sum(int((v == 0).sum()) for v in weights) / sum(v.numel() for v in weights)}


def restore(model: nn.Module, path: Path, rows: int) -> None:
    """Gives ``model`` the values kept at ``path``, and masks of ``rows`` × 1 where a layer's are mostly zero."""
    from safetensors.torch import load_file

    from flyweight.surgery.mask import mask_of

    model.load_state_dict({k: v.float() if v.dtype == torch.half else v for k, v in load_file(path).items()})
    for module in list(model.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d) and float((module.weight == 0).float().mean()) > 0.5:
            gone = module.weight.detach() == 0
            mask_of(module, "weight", (rows, 1)).keep.copy_(~gone)
