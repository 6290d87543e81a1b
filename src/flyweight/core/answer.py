"""Which tensor answers, of all that a model returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from flyweight.core.errors import ShapeError


def answer(outputs: Any, of: str = "the model") -> Tensor:
    """``outputs`` where it is a tensor; else what is called ``logits`` in it, or its only tensor of floating point.

    ``outputs`` may be a mapping (the outputs of ``transformers`` are), a tuple or list, or an object with an attribute
    ``logits``. Raises :class:`ShapeError` where nobody knows which tensor is meant; ``of`` says whose outputs they are.

    >>> import torch
    >>> answer({"loss": torch.zeros(()), "logits": torch.ones(2)})
    tensor([1., 1.])
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if isinstance(named, Tensor):
        return named
    values = outputs.values() if isinstance(outputs, Mapping) else outputs if isinstance(outputs, tuple | list) else ()
    found = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
    if len(found) != 1:
        raise ShapeError(
            f"ShapeError: {of} returns a {type(outputs).__name__}, and distillation compares tensors: none in it is "
            "called 'logits', nor is the only one of floating point. Wrap it so that it returns the tensor to be "
            "compared, or write an objective of your own: (forward, batch, context) -> scalar."
        )
    return found[0]
