"""L1: the plain price on weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.compress.sparsify.penalized import check_strength
from flyweight.compress.sparsify.targets import effective, layers
from flyweight.learn.context import Context


@dataclass(frozen=True)
class l1:
    """``strength · Σ|w|`` over the weights of linear and convolutional layers, those that masks leave.

    Biases and batch-norm are spared; the first layer is not, but for ``exclude``, globs of module names. The
    subgradient at 0 is 0. Before a batch-norm that follows, a weight's scale means nothing: there the penalty moves
    weights against each other, not all of them down. Raises :class:`UnsupportedError` where there is no weight.
    Source: Tibshirani, 1996; Han, Pool, Tran and Dally, 2015, arXiv:1506.02626, section 3.1.
    """

    strength: float = 1e-5
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_strength("l1", self.strength)

    def __call__(self, model: nn.Module, context: Context) -> Tensor:
        sums = [effective(layer).abs().sum() for _, layer in layers(model, self.exclude, "l1")]
        return self.strength * torch.stack(sums).sum()
