"""The twin of the fused block: its three convolutions, one after another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flyweight.kernels.reference.convolution import convolution
from flyweight.kernels.reference.sparse_conv import sparse_conv

_POINT = (1, 1, 1, 1, 0, 0, 0, 0)


def sparse_block(
    x: Tensor,
    expand_values: Tensor | None,
    expand_keep: Tensor | None,
    expand_bias: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    project_values: Tensor,
    project_keep: Tensor,
    project_bias: Tensor | None,
    shape: Sequence[int],
    blocks: Sequence[int],
    window: Sequence[int],
    activations: Sequence[str],
    residual: bool,
) -> Tensor:
    """What :func:`flyweight.kernels.sparse_block.sparse_block` computes, in any dtype and on any device, with
    gradients."""
    channels = weight.shape[0]
    y = x
    if expand_values is not None and expand_keep is not None:
        wide = channels, shape[0], 1, 1
        y = sparse_conv(x, expand_values, expand_keep, expand_bias, None, wide, blocks[:2], _POINT, activations[0])
    y = convolution(y, weight, bias, None, window, activations[1])
    added = x if residual else None
    narrow = shape[1], channels, 1, 1
    return sparse_conv(y, project_values, project_keep, project_bias, added, narrow, blocks[2:], _POINT, activations[2])
