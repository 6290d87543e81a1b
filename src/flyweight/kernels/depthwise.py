"""The depthwise convolution as an operation of torch, ``torch.ops.flyweight.depthwise``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flyweight.kernels import abi
from flyweight.kernels.checks import activation_number, check_depthwise, check_image, check_layer, image_size
from flyweight.kernels.layer import Layer, floats, native
from flyweight.kernels.operation import operation
from flyweight.kernels.prepared import prepared
from flyweight.kernels.reference.convolution import convolution
from flyweight.kernels.reference.depthwise import depthwise as twin

NAME = "depthwise"


def _size(x: Tensor, weight: Tensor, bias: Tensor | None, window: Sequence[int], activation: str) -> tuple[Any, ...]:
    batch, height, width = check_image(NAME, x, weight.shape[0])
    return batch, weight.shape[0], *image_size(NAME, height, width, weight.shape[2:], window)


def _run(x: Tensor, weight: Tensor, bias: Tensor | None, window: Sequence[int], activation: str) -> Tensor:
    made: Layer | Tensor = prepared(
        _layer if native(x) else _weight,
        (weight, bias),
        (tuple(weight.shape), tuple(window), activation),
    )
    told = x, weight, bias, window, activation
    if isinstance(made, Layer):
        return made.run_image(x, None, torch.empty(made.size(_size, *told)))
    _size(*told)
    return convolution(x, made, bias, None, window, activation).contiguous()


def _weight(
    weight: Tensor, bias: Tensor | None, shape: tuple[int, ...], window: tuple[int, ...], activation: str
) -> Tensor:
    """The weight of a depthwise convolution whose description holds together."""
    check_depthwise(NAME, weight)
    check_layer(NAME, len(weight), bias, activation, window=window)
    return weight


def _layer(
    weight: Tensor, bias: Tensor | None, shape: tuple[int, ...], window: tuple[int, ...], activation: str
) -> Layer | Tensor:
    """What computes it: a layer of the library, or the weight where that cannot."""
    _weight(weight, bias, shape, window, activation)
    if not native(weight, bias):
        return weight
    held = weight.contiguous(), None if bias is None else bias.contiguous()
    return Layer("depthwise", depthwise_spec(*held, window, activation))


def depthwise_spec(weight: Tensor, bias: Tensor | None, window: Sequence[int], activation: str) -> abi.DepthwiseSpec:
    """``fw_depthwise_spec`` of tensors without gaps, which have to live until the layer is made."""
    told = abi.Window(*weight.shape[2:], *window)
    return abi.DepthwiseSpec(weight.shape[0], told, floats(weight), floats(bias), activation_number(activation))


depthwise = operation(
    f"{NAME}(Tensor x, Tensor weight, Tensor? bias, int[] window, str activation) -> Tensor", _run, twin, _size
)
"""y = activation(weight ∗ x + bias), each channel with a kernel of its own: float32 on the CPU by the library, else by
its twin in ``reference/``.

Called with ``x`` (batch, channels, height, width), ``weight`` (channels, 1, kernel_h, kernel_w), ``bias`` (channels) or
None, the ``window`` (stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right) and the ``activation`` ("",
"Relu", "Relu6", "HardSwish" or "Gelu"). Gradients are those of the twin.
"""
