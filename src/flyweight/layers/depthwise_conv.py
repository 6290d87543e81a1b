"""A depthwise convolution that ends in its activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.kernels.checks import check_depthwise, check_layer
from flyweight.kernels.depthwise import depthwise
from flyweight.layers.window import window_of


class DepthwiseConv2d(nn.Module):
    """y = activation(weight ∗ x + bias), each channel with a kernel of its own, for inference.

    ``weight`` is dense, (channels, 1, kernel_h, kernel_w). ``window``, ``activation`` and where it runs: as
    :class:`~flyweight.layers.sparse_conv.SparseConv2d` has them.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        window: tuple[int, ...] = (1, 1, 1, 1, 0, 0, 0, 0),
        activation: str = "",
    ) -> None:
        super().__init__()
        check_depthwise("DepthwiseConv2d", weight)
        check_layer("DepthwiseConv2d", len(weight), bias, activation, window=window)
        self.window, self.activation = window, activation
        with torch.inference_mode(False), torch.no_grad():  # whose tensors would tell of no change
            self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
            self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @classmethod
    def from_dense(cls, layer: nn.Module, activation: str = "") -> DepthwiseConv2d:
        """What computes as ``layer`` does, a convolution of as many groups as channels in and out.

        Raises :class:`UnsupportedError` for another layer, or another padding than zeros.
        """
        window = window_of(layer)
        if not layer.groups == layer.in_channels == layer.out_channels:
            raise UnsupportedError(
                f"UnsupportedError: a depthwise convolution has as many groups as channels, and this one "
                f"{layer.in_channels} channels to {layer.out_channels} in {layer.groups} groups. Leave the layer dense."
            )
        return cls(layer.weight, layer.bias, window, activation)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(batch, channels, height, width)``, or one without its batch, to ``(batch, channels, …)``."""
        if x.dim() == 3:
            return self(x[None])[0]  # type: ignore[no-any-return]
        return depthwise(x, self.weight, self.bias, self.window, self.activation)

    def extra_repr(self) -> str:
        """The weight's shape, and how it slides."""
        told = f"{tuple(self.weight.shape)}, window={self.window}"
        return f"{told}, activation={self.activation}" if self.activation else told
