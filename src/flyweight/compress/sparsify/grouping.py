"""Which elements of a weight share one gate, or one norm: each alone, a row, a column or a tile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from flyweight.core.errors import FlyweightError


class Grouping(ABC):
    """Sorts a weight's elements into rows ``(groups, elements)``, and back.

    ``branches`` is the ``groups`` of a convolution, 1 for a linear layer.
    """

    @abstractmethod
    def rows(self, weight: Tensor, branches: int = 1) -> Tensor:
        """``weight`` as ``(groups, elements)``; a group that the weight's edge cuts short is filled up with zeros."""

    @abstractmethod
    def whole(self, rows: Tensor, like: Tensor, branches: int = 1) -> Tensor:
        """The inverse of :meth:`rows`: in the shape of ``like``."""

    def sizes(self, weight: Tensor, branches: int = 1) -> Tensor:
        """How many elements each group has, ``(groups,)``."""
        return self.rows(torch.ones_like(weight), branches).sum(1)

    @property
    def tile(self) -> tuple[int, int]:
        """The tile (rows, columns) of the weight as a matrix in which elements go; (1, 1) where they go in no tile."""
        return (1, 1)


@dataclass(frozen=True)
class elements(Grouping):
    """Each element alone."""

    def rows(self, weight: Tensor, branches: int = 1) -> Tensor:
        """``(elements, 1)``."""
        return weight.reshape(-1, 1)

    def whole(self, rows: Tensor, like: Tensor, branches: int = 1) -> Tensor:
        """In the shape of ``like``."""
        return rows.reshape(like.shape)


@dataclass(frozen=True)
class outputs(Grouping):
    """One group an output channel or neuron: all the weights that make it."""

    def rows(self, weight: Tensor, branches: int = 1) -> Tensor:
        """``(outputs, elements)``."""
        return weight.reshape(len(weight), -1)

    def whole(self, rows: Tensor, like: Tensor, branches: int = 1) -> Tensor:
        """In the shape of ``like``."""
        return rows.reshape(like.shape)


@dataclass(frozen=True)
class inputs(Grouping):
    """One group an input channel or neuron: all the weights of the layer that read it."""

    def rows(self, weight: Tensor, branches: int = 1) -> Tensor:
        """``(inputs, elements)``."""
        apart = weight.reshape(branches, len(weight) // branches, weight.shape[1], -1)
        return apart.transpose(1, 2).reshape(branches * weight.shape[1], -1)

    def whole(self, rows: Tensor, like: Tensor, branches: int = 1) -> Tensor:
        """In the shape of ``like``."""
        apart = rows.reshape(branches, like.shape[1], len(like) // branches, -1)
        return apart.transpose(1, 2).reshape(like.shape)


@dataclass(frozen=True)
class tiles(Grouping):
    """One group a tile ``down × across`` of the weight as a matrix ``(outputs, inputs · kernel)``."""

    down: int
    across: int

    def __post_init__(self) -> None:
        if min(self.down, self.across) < 1:
            raise FlyweightError(
                f"FlyweightError: tiles got {self.down}×{self.across}. Give two whole numbers, 1 or more, as in "
                "tiles(4, 1)."
            )

    def rows(self, weight: Tensor, branches: int = 1) -> Tensor:
        """``(tiles, down · across)``."""
        matrix = weight.reshape(len(weight), -1)
        high, wide = matrix.shape
        matrix = F.pad(matrix, (0, -wide % self.across, 0, -high % self.down))
        cut = matrix.reshape(matrix.shape[0] // self.down, self.down, matrix.shape[1] // self.across, self.across)
        return cut.transpose(1, 2).reshape(-1, self.down * self.across)

    def whole(self, rows: Tensor, like: Tensor, branches: int = 1) -> Tensor:
        """In the shape of ``like``."""
        high, wide = len(like), like.numel() // len(like)
        down, across = -(-high // self.down), -(-wide // self.across)
        cut = rows.reshape(down, across, self.down, self.across).transpose(1, 2)
        return cut.reshape(down * self.down, across * self.across)[:high, :wide].reshape(like.shape)

    @property
    def tile(self) -> tuple[int, int]:
        """Its rows and columns."""
        return (self.down, self.across)
