"""Where a model's parameters lie."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter; the CPU where there is none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def on_device(tensors: Iterable[Tensor], model: nn.Module) -> tuple[Tensor, ...]:
    """``tensors``, there."""
    device = device_of(model)
    return tuple(tensor.to(device) for tensor in tensors)
