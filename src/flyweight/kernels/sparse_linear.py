"""The sparse linear layer as an operation of torch, ``torch.ops.flyweight.sparse_linear``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flyweight.core.errors import ShapeError
from flyweight.kernels import abi
from flyweight.kernels.checks import activation_number, check_layer, check_residual
from flyweight.kernels.layer import Layer, floats, matrix, native
from flyweight.kernels.matrix import unpacked
from flyweight.kernels.operation import operation
from flyweight.kernels.prepared import prepared
from flyweight.kernels.reference.sparse_linear import linear
from flyweight.kernels.reference.sparse_linear import sparse_linear as twin

NAME = "sparse_linear"


def _size(
    x: Tensor,
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    shape: Sequence[int],
    block: Sequence[int],
    activation: str,
) -> tuple[Any, ...]:
    if x.dim() < 1 or x.shape[-1] != shape[1]:
        raise ShapeError(
            f"ShapeError: {NAME} takes (…, {shape[1]}), and got {tuple(x.shape)}. Give the features that its weight "
            "was made for."
        )
    size = (*x.shape[:-1], shape[0])
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
    activation: str,
) -> Tensor:
    made: Layer | Tensor = prepared(
        _layer if native(x, residual) else _weight,
        (values, keep, bias),
        (tuple(shape), tuple(block), activation),
    )
    told = x, values, keep, bias, None, shape, block, activation
    size = made.size(_size, *told) if isinstance(made, Layer) else _size(*told)
    check_residual(NAME, residual, size)
    if isinstance(made, Layer):
        return made.run_tokens(x, residual, torch.empty(size))
    return linear(x, made, bias, residual, activation).contiguous()


def _weight(
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    shape: tuple[int, ...],
    block: tuple[int, ...],
    activation: str,
) -> Tensor:
    """The dense weight of a linear layer whose description holds together."""
    check_layer(NAME, shape[0], bias, activation, block=block)
    return unpacked(values, keep, shape, block)


def _layer(
    values: Tensor,
    keep: Tensor,
    bias: Tensor | None,
    shape: tuple[int, ...],
    block: tuple[int, ...],
    activation: str,
) -> Layer | Tensor:
    """What computes it: a layer of the library, or the dense weight where that cannot."""
    if not native(values, bias):
        return _weight(values, keep, bias, shape, block, activation)
    check_layer(NAME, shape[0], bias, activation, block=block)
    values, keep = values.contiguous(), keep.contiguous()
    bias = None if bias is None else bias.contiguous()
    spec = abi.LinearSpec(matrix(values, keep, shape, block), floats(bias), activation_number(activation))
    return Layer("linear", spec)


sparse_linear = operation(
    f"{NAME}(Tensor x, Tensor values, Tensor keep, Tensor? bias, Tensor? residual, int[] shape, int[] block, "
    "str activation) -> Tensor",
    _run,
    twin,
    _size,
)
"""y = activation(x·Wᵀ + bias + residual), float32 on the CPU by the library, else by its twin in ``reference/``.

Called with ``x`` (…, inputs), ``values`` and ``keep`` (:func:`flyweight.kernels.matrix.pack` of the weight), ``bias``
(rows) or None, ``residual`` of the result's shape or None, the weight's ``shape`` (rows, inputs), the ``block`` (R, 1)
with R in 1, 2, 4, 8, 16, and the ``activation`` ("", "Relu", "Relu6", "HardSwish" or "Gelu"). Gradients are those of
the twin.
"""
