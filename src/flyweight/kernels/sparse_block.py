"""The fused block as an operation of torch, ``torch.ops.flyweight.sparse_block``."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from flyweight.core.errors import ShapeError
from flyweight.kernels import abi
from flyweight.kernels.checks import check_depthwise, check_image, check_layer, image_size
from flyweight.kernels.depthwise import depthwise_spec
from flyweight.kernels.layer import Layer, native
from flyweight.kernels.matrix import check_matrix
from flyweight.kernels.operation import operation
from flyweight.kernels.prepared import prepared
from flyweight.kernels.reference.sparse_block import sparse_block as twin
from flyweight.kernels.sparse_conv import conv_spec

NAME = "sparse_block"
_POINT = (1, 1, 1, 1, 0, 0, 0, 0)


def _size(x: Tensor, *told: Any) -> tuple[Any, ...]:
    weight, (inputs, rows), window, residual = told[3], told[8], told[10], told[12]
    batch, height, width = check_image(NAME, x, inputs)
    size = (batch, rows, *image_size(NAME, height, width, weight.shape[2:], window))
    if residual and size != tuple(x.shape):
        raise ShapeError(
            f"ShapeError: {NAME} is to add its input {tuple(x.shape)} to a result of {size}. Take residual=False, or a "
            "window that keeps the size."
        )
    return size


def _run(x: Tensor, *told: Any) -> Tensor:
    tensors, (shape, blocks, window, activations, residual) = told[:8], told[8:]
    made: Layer | None = prepared(
        _layer if native(x) else _checked,
        tensors,
        (tuple(shape), tuple(blocks), tuple(window), tuple(activations), residual),
    )
    if made is not None:
        return made.run_image(x, None, torch.empty(made.size(_size, x, *told)))
    _size(x, *told)
    return twin(x, *told).contiguous()


def _checked(
    expand_values: Tensor | None,
    expand_keep: Tensor | None,
    expand_bias: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    project_values: Tensor,
    project_keep: Tensor,
    project_bias: Tensor | None,
    shape: tuple[int, ...],
    blocks: tuple[int, ...],
    window: tuple[int, ...],
    activations: tuple[str, ...],
    residual: bool,
) -> None:
    """Whether the description of a block holds together."""
    inputs, rows = shape
    channels = weight.shape[0]
    check_depthwise(NAME, weight)
    if (expand_values is None) != (expand_keep is None) or (expand_values is None and channels != inputs):
        raise ShapeError(
            f"ShapeError: {NAME} without an expand has as many channels as inputs, and got {channels} and {inputs}. "
            "Give both expand_values and expand_keep."
        )
    if len(activations) != 3:
        raise ShapeError(
            f"ShapeError: {NAME} got the activations {tuple(activations)}. Give those of expand, depthwise, project: "
            'three, "" for none.'
        )
    first, middle, last = activations
    check_layer(NAME, channels, expand_bias, first, block=None if expand_values is None else blocks[:2])
    check_layer(NAME, channels, bias, middle, window=window)
    check_layer(NAME, rows, project_bias, last, block=blocks[2:])
    if expand_values is not None and expand_keep is not None:
        check_matrix(expand_values, expand_keep, (channels, inputs), (blocks[0], blocks[1]))
    check_matrix(project_values, project_keep, (rows, channels), (blocks[2], blocks[3]))


def _layer(
    expand_values: Tensor | None,
    expand_keep: Tensor | None,
    expand_bias: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    project_values: Tensor,
    project_keep: Tensor,
    project_bias: Tensor | None,
    shape: tuple[int, ...],
    blocks: tuple[int, ...],
    window: tuple[int, ...],
    activations: tuple[str, ...],
    residual: bool,
) -> Layer | None:
    """A layer of the library, or None where that cannot compute it."""
    tensors = expand_values, expand_keep, expand_bias, weight, bias, project_values, project_keep, project_bias
    _checked(*tensors, shape, blocks, window, activations, residual)
    if not native(expand_values, expand_bias, weight, bias, project_values, project_bias):
        return None
    ev, ek, eb, dw, db, pv, pk, pb = held = [None if one is None else one.contiguous() for one in tensors]
    assert dw is not None and pv is not None and pk is not None
    inputs, rows = shape
    expand = None
    if ev is not None and ek is not None:
        expand = conv_spec(ev, ek, eb, (len(dw), inputs, 1, 1), blocks[:2], _POINT, activations[0])
    middle = depthwise_spec(dw, db, window, activations[1])
    project = conv_spec(pv, pk, pb, (rows, len(dw), 1, 1), blocks[2:], _POINT, activations[2])
    spec = abi.BlockSpec(
        None if expand is None else ctypes.pointer(expand), ctypes.pointer(middle), ctypes.pointer(project), residual
    )
    made = Layer("block", spec)
    del held  # they had to live until here
    return made


sparse_block = operation(
    f"{NAME}(Tensor x, Tensor? expand_values, Tensor? expand_keep, Tensor? expand_bias, Tensor weight, Tensor? bias, "
    "Tensor project_values, Tensor project_keep, Tensor? project_bias, int[] shape, int[] blocks, int[] window, "
    "str[] activations, bool residual) -> Tensor",
    _run,
    twin,
    _size,
)
"""expand (1×1, or None) → depthwise → project (1×1), + x if ``residual``: float32 on the CPU by the library, where what
lies between never leaves the cache, else by its twin in ``reference/``.

Called with ``x`` (batch, inputs, height, width); ``expand_values`` and ``expand_keep``
(:func:`flyweight.kernels.matrix.pack` of its weight (channels, inputs)) and ``expand_bias``, all or some None; the
depthwise ``weight`` (channels, 1, kernel_h, kernel_w) and ``bias`` or None; ``project_values``, ``project_keep`` and
``project_bias`` or None; ``shape`` (inputs, rows); ``blocks``, expand's (R, 1) and project's; the depthwise ``window``
(stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right); three ``activations``. Gradients are those of
the twin.
"""
