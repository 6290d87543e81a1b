"""An inverted residual whose expanded tensor never leaves the cache."""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.kernels.sparse_block import sparse_block
from flyweight.layers.depthwise_conv import DepthwiseConv2d
from flyweight.layers.sparse_conv import SparseConv2d

_POINT = (1, 1, 1, 1, 0, 0, 0, 0)


class SparseBlock(nn.Module):
    """expand (1×1, or None) → depthwise → project (1×1), + x if ``residual``, in one call, for inference.

    Raises :class:`UnsupportedError` where the three do not follow one another, or a sparse one is no 1×1.
    """

    def __init__(
        self, expand: SparseConv2d | None, depthwise: DepthwiseConv2d, project: SparseConv2d, residual: bool = False
    ) -> None:
        super().__init__()
        channels = len(depthwise.weight)
        for name, layer in (("expand", expand), ("project", project)):
            if layer is not None and (layer.window != _POINT or layer.shape[2:] != (1, 1)):
                raise UnsupportedError(
                    f"UnsupportedError: SparseBlock's {name} is a 1×1 convolution of stride 1 without padding, and "
                    f"this one has a kernel of {layer.shape[2:]} and the window {layer.window}. Leave the three apart."
                )
        if project.shape[1] != channels or (expand is not None and expand.shape[0] != channels):
            raise UnsupportedError(
                f"UnsupportedError: SparseBlock's depthwise has {channels} channels, its expand gives "
                f"{'none' if expand is None else expand.shape[0]} and its project takes {project.shape[1]}. "
                "Give three layers that follow one another."
            )
        self.expand, self.depthwise, self.project, self.residual = expand, depthwise, project, residual

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(batch, inputs, height, width)``, or one without its batch, to ``(batch, rows, …)``."""
        if x.dim() == 3:
            return self(x[None])[0]  # type: ignore[no-any-return]
        expand, depthwise, project = self.expand, self.depthwise, self.project
        # Without an expand its tile and activation are not looked at.
        first = (None, None, None) if expand is None else (expand.values, expand.keep, expand.bias)
        inputs = project.shape[1] if expand is None else expand.shape[1]
        tile, activation = ((1, 1), "") if expand is None else (expand.block, expand.activation)
        return sparse_block(
            x,
            *first,
            depthwise.weight,
            depthwise.bias,
            *(project.values, project.keep, project.bias),
            (inputs, project.shape[0]),
            (*tile, *project.block),
            depthwise.window,
            (activation, depthwise.activation, project.activation),
            self.residual,
        )

    def extra_repr(self) -> str:
        """Whether its input is added."""
        return f"residual={self.residual}"
