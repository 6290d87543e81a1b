"""The pool of a weight's tiles: elements, or blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.compress.prune.pools.prunable import Weight
from flyweight.numerics.tiles import tile_elements, tile_sums
from flyweight.surgery.mask import Mask, mask_of


@dataclass(frozen=True, eq=False)
class Tiles:
    """The tiles of ``block`` (rows, columns) of one weight, taken as a matrix (outputs, inputs · kernel).

    A tile counts as kept while any element of it is. Elements that went alone stay away while their tile is kept, and
    come back with a tile that had gone.

    With ``among``, single elements of which each ``among`` that follow one another along the inputs lose alike (of a
    convolution, that many input channels at one place of the kernel): the saliency is then the rank in that group,
    those gone lowest, and of equal ranks the score decides.

    With ``taps`` the matrix has other columns: the inputs at one place of the kernel, then those at the next; no tile
    reaches from one place into another. In that order the sparse kernels take a convolution's weight.
    """

    weight: Weight
    masks: tuple[Mask, ...]
    block: tuple[int, int] = (1, 1)
    among: int | None = None
    taps: bool = False

    round_to = 1

    @property
    def name(self) -> str:
        """The layer's dotted name."""
        return self.weight.name

    @property
    def units(self) -> str:
        """What they are: weights or blocks."""
        return "weights" if self.block == (1, 1) else "blocks"

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return tuple(self.masks[0].keep.shape)

    @property
    def parameters(self) -> Tensor:
        """How many elements each tile has."""
        return tile_sums(self._ordered(torch.ones_like(self.masks[0].keep, dtype=torch.float32)), self.block)

    @property
    def kept(self) -> Tensor:
        """Which tiles have an element left."""
        keep = self.masks[0].keep
        return (
            keep.reshape(-1).clone() if self.block == (1, 1) else tile_sums(self._ordered(keep.float()), self.block) > 0
        )

    @property
    def together(self) -> Tensor | None:
        """Which tile of a row of tiles each column of the weight is of; None where a tile has one column."""
        if self.block[1] == 1:
            return None
        numbers = torch.arange(len(self.parameters))
        return self._elements(numbers)[0].reshape(-1)

    @property
    def gates(self) -> Sequence[nn.Module]:
        """The weight's masks, one a place."""
        return self.masks

    def reads(self, kind: str) -> Sequence[tuple[nn.Module, str, str]]:
        """The weight; no batch-norm belongs to elements."""
        return self.weight.places[:1] if kind == "weight" else ()

    def saliency(self, scores: Mapping[str, Tensor]) -> Tensor:
        """The sum of its elements' saliency for each tile."""
        elements = scores[self.weight.places[0][2]]
        return tile_sums(
            self._ordered(elements if self.among is None else self._ranks(elements, self.among)), self.block
        )

    def write(self, keep: Tensor) -> None:
        """Keeps those tiles alone, in every place where the weight stands."""
        back, whole = self._elements(keep & ~self.kept), self._elements(keep)
        for mask in self.masks:
            mask.keep.copy_(whole & (mask.keep | back))

    def _ordered(self, elements: Tensor) -> Tensor:
        """``elements`` as the matrix that is cut into tiles."""
        if not self.taps:
            return elements
        return F.pad(elements.flatten(2).movedim(1, 2), (0, -self.shape[1] % self.block[1])).flatten(1)

    def _elements(self, tiles: Tensor) -> Tensor:
        """Each tile's value at all of its elements, in the weight's shape: the way back."""
        if not self.taps:
            return tile_elements(tiles, self.shape, self.block)
        rows, inputs, *kernel = self.shape
        wide = inputs + -inputs % self.block[1]
        ordered = tile_elements(tiles, (rows, math.prod(kernel), wide), self.block)
        return ordered[..., :inputs].movedim(2, 1).reshape(self.shape)

    def _ranks(self, scores: Tensor, among: int) -> Tensor:
        keep = self.masks[0].keep
        inputs = scores.double().masked_fill(~keep.to(scores.device), -math.inf).movedim(1, -1)
        groups = inputs.reshape(-1, among)
        rank = groups.argsort(dim=1, stable=True).argsort(dim=1)
        # Below 1 in all, so that it only decides between equal ranks.
        place = groups.reshape(-1).argsort(stable=True).argsort().reshape(groups.shape) / groups.numel()
        result: Tensor = (rank + place).reshape(inputs.shape).movedim(-1, 1)
        return result


def tiles(weight: Weight, block: tuple[int, int] = (1, 1), among: int | None = None, taps: bool = False) -> Tiles:
    """The pool of ``weight``'s tiles, its masks put in place."""
    module, name, _ = weight.places[0]
    taps = taps and block[1] > 1 and getattr(module, name).dim() > 2  # or both orders are one
    # The mask tells a file in which tiles zeros lie, and a file's tiles lie along the weight's own order.
    told = (block[0], 1) if taps else block
    return Tiles(weight, tuple(mask_of(module, name, told) for module, name, _ in weight.places), block, among, taps)
