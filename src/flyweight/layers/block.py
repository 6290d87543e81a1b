"""The tile in which a weight's zeros lie."""

from __future__ import annotations

from torch import Tensor

from flyweight.kernels.checks import BLOCK_ROWS
from flyweight.kernels.matrix import pack

FULL = 0.9
"""How much of the tiles that are kept has to be no zero."""


def block_of(weight: Tensor) -> tuple[int, int]:
    """The tallest tile (R, 1) that kernels exist for in which the zeros of ``weight`` (rows, inputs, …) lie: of its
    tiles that are kept at least nine tenths of the elements are no zeros.

    >>> import torch
    >>> block_of(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 4.0]]))
    (2, 1)
    """
    needed = int((weight != 0).sum())
    for rows in reversed(BLOCK_ROWS):
        # What of a tile lies over the edge is multiplied too, so it counts.
        if rows <= len(weight) and len(pack(weight, (rows, 1))[0]) * FULL <= needed:
            return rows, 1
    return 1, 1
