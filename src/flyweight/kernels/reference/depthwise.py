"""The twin of the depthwise convolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flyweight.kernels.reference.convolution import convolution


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, window: Sequence[int], activation: str) -> Tensor:
    """What :func:`flyweight.kernels.depthwise.depthwise` computes, in any dtype and on any device, with gradients."""
    return convolution(x, weight, bias, None, window, activation)
