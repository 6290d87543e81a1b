"""The activations that kernels end in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda y: y,
    "Relu": torch.relu,
    "Relu6": F.relu6,
    "HardSwish": F.hardswish,
    "Gelu": F.gelu,
}


def activate(y: Tensor, name: str) -> Tensor:
    """``y`` under the activation ``name``: "" (none), "Relu", "Relu6", "HardSwish" x·relu6(x + 3) / 6, or "Gelu"
    x·(1 + erf(x / √2)) / 2.
    """
    return _FUNCTIONS[name](y)
