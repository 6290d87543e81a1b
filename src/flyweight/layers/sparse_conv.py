"""A pruned convolution that keeps, and multiplies by, only the tiles of its weight that are left."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.kernels.checks import check_layer
from flyweight.kernels.matrix import pack, unpack
from flyweight.kernels.sparse_conv import sparse_conv
from flyweight.layers.block import block_of
from flyweight.layers.window import window_of


class SparseConv2d(nn.Module):
    """y = activation(W ∗ x + bias + residual), for inference: in eager torch, under ``torch.compile`` and in programs
    of ``torch.export``.

    ``weight`` is (rows, inputs, kernel_h, kernel_w), of which ``values`` and ``keep`` hold the tiles of ``block``
    (R, 1) that are not zero. ``window`` is (stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right);
    ``activation`` "", "Relu", "Relu6", "HardSwish" or "Gelu". float32 on the CPU runs on the native kernels, as many
    threads as torch has; all else, gradients too, on plain torch. The library keeps a copy of the values of its own.
    """

    keep: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        block: tuple[int, int] = (4, 1),
        window: tuple[int, ...] = (1, 1, 1, 1, 0, 0, 0, 0),
        activation: str = "",
    ) -> None:
        super().__init__()
        check_layer("SparseConv2d", len(weight), bias, activation, block=block, window=window)
        self.shape, self.block, self.window, self.activation = tuple(weight.shape), block, window, activation
        with torch.inference_mode(False), torch.no_grad():  # whose tensors would tell of no change
            values, keep = pack(weight.detach().clone(), block)
            self.values = nn.Parameter(values, requires_grad=False)
            self.register_buffer("keep", keep)
            self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @classmethod
    def from_dense(cls, layer: nn.Module, block: tuple[int, int] | None = None, activation: str = "") -> SparseConv2d:
        """What computes as ``layer`` does, a convolution with zeros in its weight or with masks on it.

        ``block`` is the tile; None takes the one in which the zeros lie. Raises :class:`UnsupportedError` for groups,
        for another padding than zeros, and for a layer of another kind.
        """
        window = window_of(layer)
        if layer.groups != 1:
            raise UnsupportedError(
                f"UnsupportedError: the sparse convolution has no groups, and this layer has {layer.groups}. Leave the "
                "layer dense, or take DepthwiseConv2d where it has as many groups as channels."
            )
        weight: Tensor = layer.weight.detach()  # type: ignore[operator]
        bias: Tensor | None = layer.bias  # type: ignore[assignment]
        return cls(weight, bias, block or block_of(weight), window, activation)

    @property
    def weight(self) -> Tensor:
        """The dense weight, put together anew each time."""
        return unpack(self.values, self.keep, self.shape, self.block)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Images ``(batch, inputs, height, width)``, or one without its batch, to ``(batch, rows, …)``."""
        if x.dim() == 3:
            return self(x[None], None if residual is None else residual[None])[0]  # type: ignore[no-any-return]
        return sparse_conv(
            x, self.values, self.keep, self.bias, residual, self.shape, self.block, self.window, self.activation
        )

    def extra_repr(self) -> str:
        """The weight's shape, and how much of it is kept."""
        told = f"{self.shape}, block={self.block}, window={self.window}, kept={kept(self):.0%}"
        return f"{told}, activation={self.activation}" if self.activation else told


def kept(layer: nn.Module) -> float:
    """The share of its weight that a sparse layer keeps, in [0, 1]; a tile over the edge counts whole."""
    values: Tensor = layer.values  # type: ignore[assignment]
    return min(1.0, values.numel() / max(1, torch.Size(layer.shape).numel()))  # type: ignore[arg-type]
