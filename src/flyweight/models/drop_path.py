"""Stochastic depth: the branch of a residual block left out, example by example."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.core.errors import ShapeError


class DropPath(nn.Module):
    """In training x ↦ x · b / (1 − p) with b ~ Bernoulli(1 − p), drawn for each example; in evaluation x ↦ x.

    It has no parameters, so it exports as nothing. Raises :class:`ShapeError` for a p outside 0 ≤ p < 1.
    Source: Huang, Sun, Liu, Sedra and Weinberger 2016, arXiv 1603.09382; scaled in training, as ConvNeXt and DeiT do.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ShapeError(f"ShapeError: DropPath(p={p}) cannot be: p is the share left out, 0 ≤ p < 1.")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``(N, …)`` to the same shape."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand((len(x),) + (1,) * (x.dim() - 1), device=x.device) >= self.p
        return x * kept / (1 - self.p)

    def extra_repr(self) -> str:
        """The share left out."""
        return f"p={self.p}"
