"""Which blocks to take away, so that the sparse kernels can skip them in the file that comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.compress.prune.structures.block import block


@dataclass(frozen=True)
class kernel_blocks:
    """``kernel_blocks()(bits)``: the blocks that the sparse kernels skip in weights stored in ``bits``, None for float.

    Those of float multiply tiles of four outputs at one input, ``block(4, 1)``; those of int8, tiles of four outputs at
    four inputs of one place of a convolution's kernel, ``block(4, 4, taps=True)``, and where zeros lie by 4×1 hardly
    one of these is empty. Weights of other widths, which no kernels of ours multiply, lose the finer tiles.

    >>> kernel_blocks()(None), kernel_blocks()(8)
    (block(rows=4, columns=1, first=False, taps=False), block(rows=4, columns=4, first=False, taps=True))
    """

    def __call__(self, bits: int | None) -> block:
        return block(4, 4, taps=True) if bits == 8 else block(4, 1)
