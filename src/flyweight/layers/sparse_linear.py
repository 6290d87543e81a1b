"""A pruned linear layer that keeps, and multiplies by, only the tiles of its weight that are left."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.kernels.checks import check_layer
from flyweight.kernels.matrix import pack, unpack
from flyweight.kernels.sparse_linear import sparse_linear
from flyweight.layers.block import block_of
from flyweight.layers.sparse_conv import kept


class SparseLinear(nn.Module):
    """y = activation(x·Wᵀ + bias + residual), for inference: in eager torch, under ``torch.compile`` and in programs of
    ``torch.export``.

    ``weight`` is (rows, inputs), of which ``values`` and ``keep`` hold the tiles of ``block`` (R, 1) that are not zero;
    ``activation`` is "", "Relu", "Relu6", "HardSwish" or "Gelu". Where it runs: as
    :class:`~flyweight.layers.sparse_conv.SparseConv2d` does.
    """

    keep: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, block: tuple[int, int] = (4, 1), activation: str = ""
    ) -> None:
        super().__init__()
        check_layer("SparseLinear", len(weight), bias, activation, block=block)
        self.shape, self.block, self.activation = tuple(weight.shape), block, activation
        with torch.inference_mode(False), torch.no_grad():  # whose tensors would tell of no change
            values, keep = pack(weight.detach().clone(), block)
            self.values = nn.Parameter(values, requires_grad=False)
            self.register_buffer("keep", keep)
            self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @classmethod
    def from_dense(cls, layer: nn.Module, block: tuple[int, int] | None = None, activation: str = "") -> SparseLinear:
        """What computes as ``layer`` does, a linear layer with zeros in its weight or with masks on it.

        ``block`` is the tile; None takes the one in which the zeros lie. Raises :class:`UnsupportedError` for a layer
        of another kind.
        """
        if not isinstance(layer, nn.Linear) or type(layer).forward is not nn.Linear.forward:
            raise UnsupportedError(
                f"UnsupportedError: SparseLinear stands in for nn.Linear and what computes as it does, and this is "
                f"{type(layer).__name__}. Leave the layer dense."
            )
        weight = layer.weight.detach()
        return cls(weight, layer.bias, block or block_of(weight), activation)

    @property
    def weight(self) -> Tensor:
        """The dense weight, put together anew each time."""
        return unpack(self.values, self.keep, self.shape, self.block)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """``(…, inputs)`` to ``(…, rows)``."""
        return sparse_linear(x, self.values, self.keep, self.bias, residual, self.shape, self.block, self.activation)

    def extra_repr(self) -> str:
        """The weight's shape, and how much of it is kept."""
        told = f"{self.shape}, block={self.block}, kept={kept(self):.0%}"
        return f"{told}, activation={self.activation}" if self.activation else told
