"""The form of a sparse weight: the tiles that are kept, and one bit a tile (``fw_matrix`` in the C interface)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from flyweight.core.errors import ShapeError


def pack(weight: Tensor, block: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The kept tiles of ``weight``, and which they are: ``(values, keep)``.

    ``weight`` is ``(rows, inputs, *kernel)``; as a matrix its columns are one tap (place of the kernel) after another,
    and within a tap one input after another. A tile has ``block`` (rows, columns), never reaches over the end of a tap,
    and is kept where any of its elements is not zero. ``values`` (1-D, of the weight's dtype) holds the kept tiles,
    a row of tiles after another, each row-major, with zeros where a tile reaches over the edge; ``keep`` (uint8) one
    bit a tile, the highest of a byte first.

    >>> values, keep = pack(torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]]), (2, 1))
    >>> values.tolist(), f"{keep.item():08b}"
    ([1.0, 3.0, 2.0, 0.0], '10100000')
    """
    if weight.dim() < 2:
        raise ShapeError(
            f"ShapeError: a weight to pack has rows and inputs, (rows, inputs, *kernel), and this one is "
            f"{tuple(weight.shape)}. Give a weight of two dimensions or more."
        )
    r, c = block
    rows, inputs = weight.shape[:2]
    flat = weight.reshape(rows, inputs, -1)
    flat = F.pad(flat, (0, 0, 0, -inputs % c, 0, -rows % r))
    grid = flat.reshape(-(-rows // r), r, -(-inputs // c), c, flat.shape[2])
    tiles = grid.permute(0, 4, 2, 1, 3).reshape(-1, r * c)
    kept = (tiles != 0).any(1)
    eights = F.pad(kept, (0, -len(kept) % 8)).reshape(-1, 8).to(torch.uint8)
    keep = (eights << _shifts(kept.device)).sum(1, dtype=torch.uint8)
    return tiles[kept].reshape(-1), keep


def unpack(values: Tensor, keep: Tensor, shape: tuple[int, ...], block: tuple[int, int]) -> Tensor:
    """The weight of ``shape`` (rows, inputs, *kernel) whose tiles of ``block`` :func:`pack` gave; an empty ``keep``
    keeps all of them.

    >>> unpack(*pack(torch.eye(3), (2, 1)), (3, 3), (2, 1)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    r, c = block
    rows, inputs, taps = shape[0], shape[1], math.prod(shape[2:])
    grid = -(-rows // r), taps, -(-inputs // c)
    tiles = values.reshape(-1, r * c)
    if keep.numel():
        kept = ((keep.reshape(-1, 1) >> _shifts(keep.device)) & 1).reshape(-1)[: math.prod(grid)]
        # By index and not by mask, so that it can be traced: the last tile is that of all which are not kept.
        index = torch.where(kept > 0, kept.cumsum(0) - 1, len(tiles))
        tiles = torch.cat([tiles, tiles.new_zeros(1, r * c)])[index]
    flat = tiles.reshape(*grid, r, c).permute(0, 3, 2, 4, 1).reshape(grid[0] * r, grid[2] * c, taps)
    return flat[:rows, :inputs].reshape(shape)


def unpacked(values: Tensor, keep: Tensor, shape: tuple[int, ...], block: tuple[int, ...]) -> Tensor:
    """As :func:`unpack`, of what is checked first (:func:`check_matrix`)."""
    rows, columns = block
    check_matrix(values, keep, shape, (rows, columns))
    return unpack(values, keep, shape, (rows, columns))


def check_matrix(values: Tensor, keep: Tensor, shape: tuple[int, ...], block: tuple[int, int]) -> None:
    """Raises :class:`ShapeError` where ``values`` and ``keep`` are not those of a weight of ``shape`` in tiles of
    ``block``."""
    tiles = -(-shape[0] // block[0]) * math.prod(shape[2:]) * -(-shape[1] // block[1])
    if keep.numel():
        if keep.numel() != -(-tiles // 8):
            raise ShapeError(
                f"ShapeError: keep has {keep.numel()} bytes, and a weight of {tuple(shape)} in tiles of {block} has "
                f"{tiles} tiles, one bit each: {-(-tiles // 8)} bytes. Give what pack returned, with the same block."
            )
        bits = ((keep.reshape(-1, 1) >> _shifts(keep.device)) & 1).reshape(-1)
        if bool(bits[tiles:].any()):
            raise ShapeError(
                f"ShapeError: keep sets bits after its {tiles} tiles. Give what pack returned, with the same block."
            )
        tiles = int(bits.sum())
    if values.numel() != tiles * block[0] * block[1]:
        raise ShapeError(
            f"ShapeError: {tiles} tiles of {block} are kept, {tiles * block[0] * block[1]} values, and values has "
            f"{values.numel()}. Give what pack returned, with the same block."
        )


def _shifts(device: torch.device) -> Tensor:
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
