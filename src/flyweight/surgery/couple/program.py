"""A model as the graph of aten operations that torch.export makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.couple.line import line_of
from flyweight.surgery.quiet import quiet


def exported(model: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """``model``'s :class:`torch.export.ExportedProgram`, shapes fixed, layers whole.

    The batch is made two examples where the model takes that: with one alone, a batch could not be told from a
    dimension that is broadcast. Raises :class:`UnsupportedError` that names the module and the line that failed.
    """
    trouble: Exception | None = None
    # Whatever fails is told by an error of ours, or is only another trial.
    with _whole(), quiet():
        for inputs in (_pair(example), example):
            for strict in (False, True):
                try:
                    return torch.export.export(model, inputs, strict=strict)
                except Exception as error:
                    trouble = trouble or error
    assert trouble is not None
    raise UnsupportedError(_explained(model, trouble)) from trouble


def _pair(example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    sizes = {tensor.shape[0] for tensor in example if tensor.dim()}
    if len(sizes) != 1 or any(tensor.dim() == 0 for tensor in example):
        return example
    if sizes == {1}:
        return tuple(torch.cat([tensor, tensor]) for tensor in example)
    return tuple(tensor[:2] for tensor in example)


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    # nn.TransformerEncoderLayer and nn.MultiheadAttention hide in one operation where their fast path is on.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _explained(model: nn.Module, error: Exception) -> str:
    told = [text.strip() for text in str(error).splitlines() if text.strip()]
    cause = told[0] if told else type(error).__name__
    return (
        f"UnsupportedError: the coupled dimensions of {type(model).__name__} cannot be traced, for torch.export fails"
        f"{line_of(error)}: {cause.rstrip('.')}. Write that part without branches on the values of tensors, or "
        "prune elements instead of channels."
    )
