"""How many optimizer steps an epoch takes."""

from __future__ import annotations


def epoch_steps(examples: int, batch_size: int) -> int:
    """``⌈examples / batch_size⌉``, less one where the last step would have a single example.

    That one is joined to the step before, for batch-norm has no variance of one value.

    >>> epoch_steps(300, 100), epoch_steps(302, 100), epoch_steps(301, 100), epoch_steps(3, 1)
    (3, 4, 3, 3)
    """
    joined = examples % batch_size == 1 and examples > batch_size > 1
    return max(1, -(-examples // batch_size) - joined)
