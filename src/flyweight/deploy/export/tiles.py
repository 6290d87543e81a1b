"""Cutting a weight into tiles, and keeping those that hold a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Tiles:
    """A weight as a matrix ``size``, cut into a ``grid`` of tiles ``(rows, columns)``, row after row.

    ``kept`` ``(kept tiles, rows, columns)`` are those with a number in them (the first one where none has), and
    ``bits`` ``(bytes, 1)`` uint8 tell which: one bit a tile, the highest bit of a byte first. Tiles at the lower and
    the right edge are filled up with zeros.
    """

    kept: Array
    bits: Array
    grid: tuple[int, int]
    size: tuple[int, int]


def tiles(weight: Array, tile: tuple[int, int]) -> Tiles:
    """``weight`` as a matrix ``(first dimension, rest)`` in tiles of that size, the empty ones left out."""
    import numpy as np

    rows, columns = tile
    matrix = weight.reshape(len(weight), -1)
    height, width = matrix.shape
    grid = (-(-height // rows), -(-width // columns))
    whole = np.pad(matrix, ((0, grid[0] * rows - height), (0, grid[1] * columns - width)))
    each = whole.reshape(grid[0], rows, grid[1], columns).transpose(0, 2, 1, 3).reshape(-1, rows, columns)
    holds = (each != 0).any((1, 2))
    # Of an empty weight one tile is kept all the same: runtimes are not at their best with tensors of no elements.
    holds[0] |= not holds.any()
    return Tiles(each[holds], np.packbits(holds).reshape(-1, 1), grid, (height, width))
