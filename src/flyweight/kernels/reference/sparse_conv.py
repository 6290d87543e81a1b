"""The twin of the sparse convolution: a dense one, of the weight put together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flyweight.kernels.matrix import unpack
from flyweight.kernels.reference.convolution import convolution


def sparse_conv(
    x: Tensor,
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    shape: Sequence[int],
    block: Sequence[int],
    window: Sequence[int],
    activation: str,
) -> Tensor:
    """What :func:`flyweight.kernels.sparse_conv.sparse_conv` computes, in any dtype, with gradients."""
    weight = unpack(values, keep, tuple(shape), (block[0], block[1]))
    return convolution(x, weight, bias, residual, window, activation)
