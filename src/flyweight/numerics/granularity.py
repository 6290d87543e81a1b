"""How many of a weight's values share one scale: all, those of a channel, or those of a group."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from flyweight.core.errors import ShapeError


class Granularity(ABC):
    """Sorts a weight's values into rows ``(scales, values)`` that share a scale each, and back."""

    @abstractmethod
    def rows(self, x: Tensor) -> Tensor:
        """``x`` as ``(scales, values)``."""

    def whole(self, rows: Tensor, like: Tensor) -> Tensor:
        """The inverse of :meth:`rows`: ``rows`` in the shape of ``like``."""
        return rows.reshape(like.shape)


@dataclass(frozen=True)
class per_tensor(Granularity):
    """One scale for the whole weight."""

    def rows(self, x: Tensor) -> Tensor:
        """``(1, values)``."""
        return x.reshape(1, -1)


@dataclass(frozen=True)
class per_channel(Granularity):
    """One scale for each index along ``axis``; 0, the output channels, is what integer kernels take."""

    axis: int = 0

    def rows(self, x: Tensor) -> Tensor:
        """``(channels, values)``; raises :class:`ShapeError` where ``x`` has no such axis."""
        if not -x.dim() <= self.axis < x.dim():
            raise ShapeError(
                f"ShapeError: per_channel(axis={self.axis}) has no axis in a weight of shape {tuple(x.shape)}. "
                "Use axis=0, the output channels."
            )
        return x.movedim(self.axis, 0).reshape(x.shape[self.axis], -1)

    def whole(self, rows: Tensor, like: Tensor) -> Tensor:
        """``rows`` in the shape of ``like``."""
        return rows.reshape(like.movedim(self.axis, 0).shape).movedim(0, self.axis)


@dataclass(frozen=True)
class per_group(Granularity):
    """One scale for each ``size`` values that follow one another along the input dimensions of an output channel."""

    size: int = 32

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ShapeError(f"ShapeError: per_group takes a size of 1 or more, and got {self.size!r}.")

    def rows(self, x: Tensor) -> Tensor:
        """``(channels · groups, size)``; raises :class:`ShapeError` where a channel is no multiple of ``size``."""
        inputs = x[0].numel()
        if inputs % self.size:
            fit = [n for n in range(1, inputs + 1) if inputs % n == 0]
            near = sorted(sorted(fit, key=lambda n: abs(n - self.size))[:3])
            raise ShapeError(
                f"ShapeError: cannot group a weight of shape {tuple(x.shape)}: its {inputs} inputs a channel are no "
                f"multiple of group={self.size}. Choose a group that divides {inputs} "
                f"({', '.join(map(str, near))}), or exclude the layer."
            )
        return x.reshape(-1, self.size)
