"""The form of a weight, tile by tile and bit by bit, as ``fw_matrix`` in the C interface tells it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def pack(weight: Tensor, block: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What :func:`flyweight.kernels.matrix.pack` gives, by loops: ``(values, keep)``."""
    values: list[Tensor] = []
    bits: list[bool] = []
    for tile in _tiles(weight, block):
        bits.append(bool((tile != 0).any()))
        if bits[-1]:
            values.append(tile.reshape(-1))
    keep = [0] * (-(-len(bits) // 8))
    for place, bit in enumerate(bits):
        keep[place // 8] |= bit << (7 - place % 8)
    return torch.cat([*values, weight.new_zeros(0)]), torch.tensor(keep, dtype=torch.uint8)


def unpack(values: Tensor, keep: Tensor, shape: tuple[int, ...], block: tuple[int, int]) -> Tensor:
    """What :func:`flyweight.kernels.matrix.unpack` gives, by loops: the weight ``(rows, inputs, *kernel)``."""
    weight = values.new_zeros(shape)
    rows, inputs = shape[:2]
    flat = weight.view(rows, inputs, -1)
    place, taken = 0, 0
    for top in range(0, rows, block[0]):
        for tap in range(flat.shape[2]):
            for left in range(0, inputs, block[1]):
                if not len(keep) or int(keep[place // 8]) >> (7 - place % 8) & 1:
                    for i in range(block[0]):
                        for j in range(block[1]):
                            if top + i < rows and left + j < inputs:
                                flat[top + i, left + j, tap] = values[taken + i * block[1] + j]
                    taken += block[0] * block[1]
                place += 1
    return weight


def _tiles(weight: Tensor, block: tuple[int, int]) -> Iterator[Tensor]:
    """The tiles in their order, with zeros where one reaches over the edge."""
    flat = weight.reshape(weight.shape[0], weight.shape[1], -1)
    for top in range(0, flat.shape[0], block[0]):
        for tap in range(flat.shape[2]):
            for left in range(0, flat.shape[1], block[1]):
                tile = weight.new_zeros(block)
                part = flat[top : top + block[0], left : left + block[1], tap]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
