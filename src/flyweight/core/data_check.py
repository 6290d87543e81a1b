"""Whether a split's examples are what the task says they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from flyweight.core.errors import TaskError

_NUMBERS = (int, float, np.number, np.bool_)
"""What a ``DataLoader`` makes a tensor of, beside tensors."""


def check_data(dataset: Any, example: tuple[Tensor, ...], name: str, places: Sequence[int] = (0,)) -> None:
    """Raises :class:`TaskError` where an item of ``dataset`` at ``places`` does not go on as ``example`` begins.

    An item is a tuple: the model's inputs, tensors of the example's shapes without its batch dimension, then the
    targets, tensors or plain numbers. ``name`` tells the split in the error, as in ``"task 'mine': data.train"``.
    """
    if len(dataset) == 0:
        raise TaskError(f"TaskError: {name} is empty. Every split needs examples.")
    for index in places:
        item, where = dataset[index], f"TaskError: {name}[{index}]"
        parts = item if isinstance(item, tuple | list) else ()
        if not parts or not all(isinstance(part, (Tensor, *_NUMBERS)) for part in parts):
            raise TaskError(
                f"{where} is {told(item)}, and has to be a tuple: the model's inputs as tensors, then the targets as "
                "tensors or plain numbers."
            )
        if len(parts) < len(example):
            raise TaskError(f"{where} has {len(parts)} part(s), and `example` alone has {len(example)} inputs.")
        for position, (got, wanted) in enumerate(zip(parts, example, strict=False)):
            if not isinstance(got, Tensor) or got.shape != wanted.shape[1:] or got.dtype != wanted.dtype:
                raise TaskError(
                    f"{where} does not fit `example`: input {position} is {told(got)}, and without its batch dimension "
                    f"the example is {told(wanted[0])}. Change the data or `example` (its dimension 0 is the batch)."
                )


def told(value: Any) -> str:
    """``value`` in words short enough for an error.

    >>> import torch
    >>> told((torch.zeros(2, 3), 7))
    'a tuple of (a tensor of shape (2, 3) and type float32, 7 (int))'
    """
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of ({', '.join(map(told, value))})"
    return f"{value!r:.120} ({type(value).__name__})"
