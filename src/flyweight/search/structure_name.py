"""What a structure takes away, in the words of a label."""

from __future__ import annotations

from flyweight.compress.prune.pool import Structure
from flyweight.compress.prune.structures.block import block

_WORDS = {"elements": "weights", "": "units"}


def structure_name(structure: Structure) -> str:
    """``channels``, ``weights``, ``4×1 blocks``; ``units`` of a structure of the user's own that does not tell its own.

    >>> structure_name(block(4, 1))
    '4×1 blocks'
    """
    if isinstance(structure, block):
        return f"{structure.rows}×{structure.columns} blocks"
    told = str(getattr(structure, "units", ""))
    return _WORDS.get(told, told)
