"""Units of a weight, elements or tiles of them: their sums, their elements, and the least of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def tile_sums(values: Tensor, block: tuple[int, int]) -> Tensor:
    """The sum of each tile of ``block`` (rows, columns), ``(units,)``, row of tiles after row of tiles.

    ``values`` is taken as the matrix ``(outputs, inputs · kernel)``; tiles at its edges may be cut short.
    """
    matrix = values.reshape(len(values), -1)
    rows, columns = block
    if block == (1, 1):
        return matrix.reshape(-1)
    matrix = F.pad(matrix, (0, -matrix.shape[1] % columns, 0, -matrix.shape[0] % rows))
    high, wide = matrix.shape[0] // rows, matrix.shape[1] // columns
    return matrix.reshape(high, rows, wide, columns).sum((1, 3)).reshape(-1)


def tile_elements(units: Tensor, shape: torch.Size, block: tuple[int, int]) -> Tensor:
    """The inverse: each unit's value at all elements of its tile, in ``shape``."""
    rows, columns = block
    height, width = shape[0], math.prod(shape[1:])
    matrix = units.reshape(-(-height // rows), -(-width // columns))
    matrix = matrix.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
    return matrix[:height, :width].reshape(shape)


def least(value: Tensor, among: Tensor, count: int) -> Tensor:
    """Bool, in ``value``'s shape: the ``count`` units ``among`` (bool) of the least ``value``; of equals the first."""
    found = torch.zeros_like(among)
    order = value.masked_fill(~among, math.inf).argsort(stable=True)
    found[order[:count]] = True
    return found & among
