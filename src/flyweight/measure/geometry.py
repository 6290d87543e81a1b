"""The sizes of a convolution or a linear layer: all that its time depends on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flyweight.core.errors import ShapeError


@dataclass(frozen=True)
class Geometry:
    """A layer with a ``weight`` of that shape, on one example of the shape ``input``.

    A convolution's weight is ``(outputs, inputs / groups, *kernel)`` and its input ``(inputs, *space)``; a linear
    layer's are ``(outputs, inputs)`` and ``(*places, inputs)``. ``padding`` has the zeros before each dimension of
    space, then those behind. Raises :class:`ShapeError` where the shapes do not fit each other.
    """

    weight: tuple[int, ...]
    input: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        linear = len(self.weight) == 2
        fits = len(self.weight) >= 2 and len(self.input) >= 1 and min(*self.weight, *self.input, self.groups) > 0
        if fits and linear:
            fits = self.input[-1] == self.weight[1] and self.groups == 1
        elif fits:
            fits = len(self.input) == len(self.weight) - 1 and self.input[0] == self.weight[1] * self.groups
            fits = fits and self.weight[0] % self.groups == 0 and min(self.output[1:]) > 0
        if not fits:
            raise ShapeError(
                f"ShapeError: no layer has a weight of shape {self.weight}, groups={self.groups} and an input of shape "
                f"{self.input}. Give (outputs, inputs / groups, *kernel) with (inputs, *space), or (outputs, inputs) "
                "with (*places, inputs)."
            )

    @classmethod
    def of(cls, layer: Any, shape: Sequence[int]) -> Geometry:
        """That of a torch ``Conv1d``, ``Conv2d``, ``Conv3d`` or ``Linear`` whose input, without the batch, has that
        ``shape``."""
        weight = tuple(int(n) for n in layer.weight.shape)
        if len(weight) == 2:
            return cls(weight, tuple(shape))
        around = layer.padding
        if around == "same":
            whole = [d * (k - 1) for k, d in zip(weight[2:], layer.dilation, strict=True)]
            around = (*(n // 2 for n in whole), *(n - n // 2 for n in whole))
        else:
            around = (0,) * 2 * (len(weight) - 2) if around == "valid" else (*around, *around)
        return cls(weight, tuple(shape), tuple(layer.stride), around, tuple(layer.dilation), layer.groups)

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of the output of one example."""
        if len(self.weight) == 2:
            return (*self.input[:-1], self.weight[0])
        space, kernel = self.input[1:], self.weight[2:]
        count = len(kernel)
        stride, dilation = self.stride or (1,) * count, self.dilation or (1,) * count
        padding = self.padding or (0,) * 2 * count
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = [n + a + b for n, a, b in zip(space, padding[:count], padding[count:], strict=True)]
        return (self.weight[0], *((n - r) // s + 1 for n, r, s in zip(sizes, reach, stride, strict=True)))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one example."""
        return math.prod(self.output) * math.prod(self.weight[1:])

    def kept(self, outputs: int | None = None, inputs: int | None = None) -> Geometry:
        """The layer with so many outputs and inputs left; of a depthwise convolution the two are one.

        Raises :class:`ShapeError` where the groups do not divide them.
        """
        linear = len(self.weight) == 2
        if not linear and self.weight[1] == 1 and self.groups > 1:
            each = self.weight[0] // self.groups
            count = inputs if inputs is not None else None if outputs is None else outputs // each
            if count is None:
                return self
            shape = (count, *self.input[1:])
            return replace(self, weight=(count * each, *self.weight[1:]), input=shape, groups=count)
        outputs = self.weight[0] if outputs is None else outputs
        inputs = self.weight[1] * self.groups if inputs is None else inputs
        if outputs % self.groups or inputs % self.groups:
            raise ShapeError(
                f"ShapeError: a convolution in {self.groups} groups cannot have {inputs} inputs and {outputs} outputs. "
                f"Give multiples of {self.groups}."
            )
        shape = (*self.input[:-1], inputs) if linear else (inputs, *self.input[1:])
        return replace(self, weight=(outputs, inputs // self.groups, *self.weight[2:]), input=shape)
