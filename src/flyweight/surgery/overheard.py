"""One forward pass for the sake of what hooks hear in it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flyweight.surgery.device import on_device
from flyweight.surgery.modes import evaluated


def overheard(model: nn.Module, example: tuple[Tensor, ...], hooks: Iterable[RemovableHandle]) -> None:
    """Runs ``model`` on ``example`` once, as in evaluation and without gradients; ``hooks`` are gone afterwards."""
    try:
        with evaluated(model), torch.no_grad():
            model(*on_device(example, model))
    finally:
        for hook in hooks:
            hook.remove()
