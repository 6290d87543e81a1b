"""Cutting a weight into tiles, and keeping those that hold a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Tiles:
    """A weight as a matrix ``size``, cut into a ``grid`` of tiles ``tile`` = (rows, columns), row after row.

    Those with a number in them are kept (the first one where none has). ``bits`` ``(bytes,)`` uint8 tell which: one bit
    a tile, the highest bit of a byte first; ``kept`` ``(elements,)`` are the numbers of all kept tiles in the order in
    which they stand in the matrix. Tiles at the lower and the right edge may be cut short.
    """

    kept: Array
    bits: Array
    tile: tuple[int, int]
    grid: tuple[int, int]
    size: tuple[int, int]


def tiles(weight: Array, tile: tuple[int, int]) -> Tiles:
    """``weight`` as a matrix ``(first dimension, rest)`` in tiles of that size, the empty ones left out."""
    import numpy as np

    rows, columns = tile
    matrix = weight.reshape(len(weight), -1)
    height, width = matrix.shape
    grid = (-(-height // rows), -(-width // columns))
    numbers = np.pad(matrix != 0, ((0, grid[0] * rows - height), (0, grid[1] * columns - width)))
    holds: Any = numbers.reshape(grid[0], rows, grid[1], columns).any((1, 3))
    # Of an empty weight one tile is kept all the same: runtimes are not at their best with tensors of no elements.
    holds[0, 0] |= not holds.any()
    spread = holds.repeat(rows, 0).repeat(columns, 1)[:height, :width]
    return Tiles(matrix[spread], np.packbits(holds), tile, grid, (height, width))
