"""The mask that stays: what regrowth is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.prune.regrow.rule import Layer


@dataclass(frozen=True)
class static:
    """Nothing is ever dropped or grown: the random mask of the start stays, as the control that rules must beat."""

    every = None
    until = 1.0
    memory = None

    def __call__(self, layers: Sequence[Layer], done: float, generator: torch.Generator) -> list[Tensor]:
        return [layer.live for layer in layers]
