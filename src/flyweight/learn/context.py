"""What an objective may know of the batch in hand besides its tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, nn

from flyweight.core.task import Batch, Forward, Task


@dataclass(frozen=True, eq=False)
class Context:
    """The surroundings of one batch.

    ``task`` has its teacher on the batch's device; ``indices`` ``(N,)`` are the examples' places in
    ``task.data.train``; ``augmented`` says that the inputs are not those of the data set any more, so nothing
    kept for an index is valid; ``autocast()`` opens the precision that the student is run in. ``model`` is the student
    itself, for penalties on its parameters; None where an objective is called outside training. ``fraction`` is the
    part of the training steps that was done before this one, from 0 to below 1, for losses that change on the way.
    """

    task: Task
    indices: Tensor
    augmented: bool = False
    autocast: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext
    model: nn.Module | None = None
    fraction: float = 0.0


Objective = Callable[[Forward, Batch, Context], Tensor]
"""A loss with its own idea of the target: ``(forward, batch, context) -> scalar``, a mean over the batch.

Objectives are frozen dataclasses. They call ``forward`` once, and hand :func:`~flyweight.learn.recorded.recorded`
of its output to an objective or a loss inside.
"""
