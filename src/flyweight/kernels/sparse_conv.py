"""The sparse convolution as an operation of torch, ``torch.ops.flyweight.sparse_conv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flyweight.kernels import abi
from flyweight.kernels.checks import activation_number, check_image, check_layer, check_residual, image_size
from flyweight.kernels.layer import Layer, floats, matrix, native
from flyweight.kernels.matrix import unpacked
from flyweight.kernels.operation import operation
from flyweight.kernels.prepared import prepared
from flyweight.kernels.reference.convolution import convolution
from flyweight.kernels.reference.sparse_conv import sparse_conv as twin

NAME = "sparse_conv"


def _size(
    x: Tensor,
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    shape: Sequence[int],
    block: Sequence[int],
    window: Sequence[int],
    activation: str,
) -> tuple[Any, ...]:
    batch, height, width = check_image(NAME, x, shape[1])
    size = (batch, shape[0], *image_size(NAME, height, width, shape[2:], window))
    check_residual(NAME, residual, size)
    return size


def _run(
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
    made: Layer | Tensor = prepared(
        _layer if native(x, residual) else _weight,
        (values, keep, bias),
        (tuple(shape), tuple(block), tuple(window), activation),
    )
    told = x, values, keep, bias, None, shape, block, window, activation
    size = made.size(_size, *told) if isinstance(made, Layer) else _size(*told)
    check_residual(NAME, residual, size)
    if isinstance(made, Layer):
        return made.run_image(x, residual, torch.empty(size))
    return convolution(x, made, bias, residual, window, activation).contiguous()


def _weight(
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    shape: tuple[int, ...],
    block: tuple[int, ...],
    window: tuple[int, ...],
    activation: str,
) -> Tensor:
    """The dense weight of a convolution whose description holds together."""
    check_layer(NAME, shape[0], bias, activation, block=block, window=window)
    return unpacked(values, keep, shape, block)


def _layer(
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    shape: tuple[int, ...],
    block: tuple[int, ...],
    window: tuple[int, ...],
    activation: str,
) -> Layer | Tensor:
    """What computes it: a layer of the library, or the dense weight where that cannot."""
    if not native(values, bias):
        return _weight(values, keep, bias, shape, block, window, activation)
    check_layer(NAME, shape[0], bias, activation, block=block, window=window)
    held = values.contiguous(), keep.contiguous(), None if bias is None else bias.contiguous()
    return Layer("conv", conv_spec(*held, shape, block, window, activation))


def conv_spec(
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    shape: Sequence[int],
    block: Sequence[int],
    window: Sequence[int],
    activation: str,
) -> abi.ConvSpec:
    """``fw_conv_spec`` of tensors without gaps, which have to live until the layer is made."""
    weight = matrix(values, keep, shape, block)
    return abi.ConvSpec(weight, abi.Window(*shape[2:], *window), floats(bias), activation_number(activation))


sparse_conv = operation(
    f"{NAME}(Tensor x, Tensor values, Tensor keep, Tensor? bias, Tensor? residual, int[] shape, int[] block, "
    "int[] window, str activation) -> Tensor",
    _run,
    twin,
    _size,
)
"""y = activation(W ∗ x + bias + residual), float32 on the CPU by the library, else by its twin in ``reference/``.

Called with ``x`` (batch, inputs, height, width), ``values`` and ``keep`` (:func:`flyweight.kernels.matrix.pack` of the
weight), ``bias`` (rows) or None, ``residual`` of the result's shape or None, the weight's ``shape`` (rows, inputs,
kernel_h, kernel_w), the ``block`` (R, 1) with R in 1, 2, 4, 8, 16, the ``window`` (stride_h, stride_w, dilation_h,
dilation_w, top, left, bottom, right) and the ``activation`` ("", "Relu", "Relu6", "HardSwish" or "Gelu"). Gradients are
those of the twin.
"""
