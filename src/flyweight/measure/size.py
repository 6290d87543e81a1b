"""How many bytes an artifact takes, as it is and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

_LEVEL = 6
"""gzip's own default, and that of most servers."""

_PIECE = 1 << 20


def size_bytes(files: Iterable[Path]) -> int:
    """The bytes of ``files``: an artifact with the files that hold its weights, where they lie outside it."""
    return sum(file.stat().st_size for file in files)


def gzip_bytes(files: Iterable[Path]) -> int:
    """The bytes of ``files`` when each is compressed by gzip at its default level, as for a download."""
    total = 0
    for file in files:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        with file.open("rb") as source:
            while piece := source.read(_PIECE):
                total += len(packer.compress(piece))
        total += len(packer.flush())
    return total
