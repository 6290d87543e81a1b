"""An integer layer that rounds its own input, for models of which no graph can be had."""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.surgery.activation import Requantize
from flyweight.surgery.integer import IntegerLayer


class Rounded(nn.Module):
    """target(layer(source(x))): what stands between two such layers is float, in the runtime too.

    ``target`` is None where the runtime's kernel can give floats (a linear layer's), else it rounds the output.
    """

    def __init__(self, layer: IntegerLayer, source: Requantize, target: Requantize | None = None) -> None:
        super().__init__()
        self.source, self.layer, self.target = source, layer, target
        layer.attach(source, target)

    @property
    def weight(self) -> Tensor:
        """The rounded weight: models look at a layer's for its type, or multiply by it themselves."""
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        """The bias in float, as it is trained."""
        return self.layer.float_bias()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name, for a model may call by keyword)
        """The layer's output."""
        output: Tensor = self.layer(self.source(input))
        return output if self.target is None else self.target(output)
