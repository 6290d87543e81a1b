"""Tiles of a weight as a matrix: their sums, and their elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def tile_sums(values: Tensor, block: tuple[int, int]) -> Tensor:
    """The sum of ``values`` over each tile, ``(tiles,)``, a row of tiles after another.

    ``values`` counts as the matrix ``(outputs, inputs · kernel)``; a tile has ``block`` (rows, columns), and those at
    its lower and right edge may be cut short.

    >>> import torch
    >>> tile_sums(torch.arange(6.0).reshape(2, 3), (2, 2)).tolist()
    [8.0, 7.0]
    """
    if block == (1, 1):
        return values.reshape(-1)
    rows, columns = block
    matrix = values.reshape(len(values), -1)
    matrix = F.pad(matrix, (0, -matrix.shape[1] % columns, 0, -matrix.shape[0] % rows))
    tiles = matrix.reshape(matrix.shape[0] // rows, rows, matrix.shape[1] // columns, columns)
    return tiles.sum((1, 3)).reshape(-1)


def tile_elements(tiles: Tensor, shape: Sequence[int], block: tuple[int, int]) -> Tensor:
    """Each tile's value at all of its elements, in ``shape``: the way back from :func:`tile_sums`.

    >>> import torch
    >>> tile_elements(torch.tensor([1, 2]), (2, 3), (2, 2)).tolist()
    [[1, 1, 2], [1, 1, 2]]
    """
    rows, columns = block
    height, width = shape[0], math.prod(shape[1:])
    if block != (1, 1):
        tiles = tiles.reshape(-(-height // rows), -(-width // columns))
        tiles = tiles.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[:height, :width]
    return tiles.reshape(tuple(shape))
