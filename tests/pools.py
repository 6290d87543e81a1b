"""Pools without a model behind them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(eq=False)
class PlainPool:
    """Units of given sizes."""

    name: str
    parameters: Tensor
    shape: tuple[int, ...] = (1, 1)
    kept: Tensor = field(init=False)

    def __post_init__(self):
        self.kept = torch.ones(len(self.parameters), dtype=torch.bool)

    def reads(self, kind):
        return []

    def saliency(self, scores):
        return scores[self.name]

    def write(self, keep):
        self.kept = keep
