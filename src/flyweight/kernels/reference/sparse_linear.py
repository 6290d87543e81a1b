"""The twin of the sparse linear layer: a dense one, of the weight put together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from flyweight.kernels.matrix import unpack
from flyweight.kernels.reference.activation import activate


def sparse_linear(
    x: Tensor,
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    shape: Sequence[int],
    block: Sequence[int],
    activation: str,
) -> Tensor:
    """What :func:`flyweight.kernels.sparse_linear.sparse_linear` computes, in any dtype, with gradients."""
    weight = unpack(values, keep, tuple(shape), (block[0], block[1]))
    return linear(x, weight, bias, residual, activation)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, activation: str) -> Tensor:
    """activation(x·weightᵀ + bias + residual), of the dense ``weight`` (rows, inputs) and ``x`` (…, inputs)."""
    y = F.linear(x, weight, bias)
    return activate(y if residual is None else y + residual, activation)
