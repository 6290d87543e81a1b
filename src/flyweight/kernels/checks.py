"""What an operation asks of its tensors, whoever computes it; sizes may be symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from flyweight.core.errors import ShapeError, unknown_name
from flyweight.kernels.abi import ACTIVATIONS

BLOCK_ROWS = (1, 2, 4, 8, 16)
"""The heights of the tiles that kernels exist for; they are one column wide."""


def check_image(name: str, x: Tensor, channels: int) -> tuple[Any, Any, Any]:
    """The batch, height and width of ``x``; raises :class:`ShapeError` where it is no batch of images of
    ``channels``."""
    if x.dim() != 4 or x.shape[1] != channels:
        raise ShapeError(
            f"ShapeError: {name} takes images (batch, {channels}, height, width), and got {tuple(x.shape)}. "
            "Give the channels that its weight was made for."
        )
    return x.shape[0], x.shape[2], x.shape[3]


def image_size(name: str, height: Any, width: Any, kernel: Sequence[int], window: Sequence[int]) -> tuple[Any, Any]:
    """The height and width that a kernel gives under ``window`` (stride, dilation, top, left, bottom, right)."""
    stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right = window
    below = height + top + bottom - dilation_h * (kernel[0] - 1) - 1
    beside = width + left + right - dilation_w * (kernel[1] - 1) - 1
    if below < 0 or beside < 0:
        raise ShapeError(
            f"ShapeError: {name} has a kernel of {tuple(kernel)} with dilation {(dilation_h, dilation_w)}, which is "
            f"larger than an image of {(height, width)} padded by {(top, left, bottom, right)}. "
            "Give a larger image, or more padding."
        )
    return below // stride_h + 1, beside // stride_w + 1


def check_residual(name: str, residual: Tensor | None, size: Sequence[Any]) -> None:
    """Raises :class:`ShapeError` where what is added has not the result's ``size``."""
    if residual is not None and tuple(residual.shape) != tuple(size):
        raise ShapeError(
            f"ShapeError: {name} adds a residual of its result's shape {tuple(size)}, and got "
            f"{tuple(residual.shape)}. Give it in that shape."
        )


def check_depthwise(name: str, weight: Tensor) -> None:
    """Raises :class:`ShapeError` where ``weight`` is not one kernel a channel."""
    if weight.dim() != 4 or weight.shape[1] != 1:
        raise ShapeError(
            f"ShapeError: {name} takes a depthwise weight (channels, 1, kernel_h, kernel_w), and got "
            f"{tuple(weight.shape)}. Give a convolution of as many groups as channels."
        )


def check_layer(
    name: str,
    rows: int,
    bias: Tensor | None,
    activation: str,
    *,
    block: Sequence[int] | None = None,
    window: Sequence[int] | None = None,
) -> None:
    """Whether what a layer of ``rows`` outputs is told holds together; None of what it does not have.

    Raises :class:`ShapeError` for tiles that no kernel exists for, a window that is not two strides, two dilations and
    four paddings, and a bias that is not one value a row; :class:`UnknownNameError` for an activation that there is
    not.
    """
    if block is not None and (len(block) != 2 or block[0] not in BLOCK_ROWS or block[1] != 1):
        raise ShapeError(
            f"ShapeError: {name} has no kernel for tiles of {tuple(block)}. Give (R, 1) with R one of "
            f"{', '.join(map(str, BLOCK_ROWS))}."
        )
    if window is not None and (len(window) != 8 or min(window[:4]) < 1 or min(window[4:]) < 0):
        raise ShapeError(
            f"ShapeError: {name} got the window {tuple(window)}. Give strides and dilations of 1 or more and paddings "
            "of 0 or more: (stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right)."
        )
    activation_number(activation)
    if bias is not None and tuple(bias.shape) != (rows,):
        raise ShapeError(
            f"ShapeError: {name} has {rows} rows and a bias of {tuple(bias.shape)}. Give one value a row, ({rows},)."
        )


def activation_number(activation: str) -> int:
    """The number of ``activation`` in the C interface; raises :class:`UnknownNameError` for one that there is not."""
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, [name or "(none)" for name in ACTIVATIONS])
    return ACTIVATIONS.index(activation)
