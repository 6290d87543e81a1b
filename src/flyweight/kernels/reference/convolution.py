"""A convolution as the kernels tell it: padded on four sides, then bias, residual and activation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from flyweight.kernels.reference.activation import activate


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, window: Sequence[int], activation: str
) -> Tensor:
    """activation(weight ∗ x + bias + residual), of the dense ``weight`` (rows, inputs / groups, kernel_h, kernel_w).

    ``x`` is (batch, inputs, height, width); ``window`` is (stride_h, stride_w, dilation_h, dilation_w, pad_top,
    pad_left, pad_bottom, pad_right). Runs in any dtype and on any device, and has gradients.
    """
    top, left, bottom, right = window[4:]
    if any(window[4:]):
        x = F.pad(x, (left, right, top, bottom))
    y = F.conv2d(x, weight, bias, tuple(window[:2]), 0, tuple(window[2:4]), x.shape[1] // weight.shape[1])
    return activate(y if residual is None else y + residual, activation)
