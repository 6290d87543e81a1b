"""Top-1 accuracy of any classifier: a module, or a file opened in a runtime."""

from __future__ import annotations

import torch

from flyweight.core.errors import ShapeError, TaskError
from flyweight.core.task import Batches, Forward


def accuracy(forward: Forward, batches: Batches) -> float:
    """The share of examples whose largest output is the target's: Σ 1[argmax f(x) = y] / N, in 0…1.

    Shapes: outputs ``(N, classes)``, as tensors or numpy arrays; the last tensor of a batch is the target ``(N,)``,
    whole numbers. It goes batch by batch, so memory does not grow with the data. ``forward`` keeps the mode it has.
    NaN where an output is NaN: a broken model has no accuracy, though argmax would give it one.
    Raises :class:`ShapeError` for outputs of another shape, :class:`TaskError` where there are no examples.
    """
    right = total = 0
    broken = False
    with torch.no_grad():
        for *inputs, target in batches:
            output = torch.as_tensor(forward(*inputs)).detach().cpu()
            if output.ndim != 2 or target.ndim != 1 or len(output) != len(target):
                raise ShapeError(
                    f"ShapeError: accuracy wants outputs (N, classes) and targets (N,), and got "
                    f"{tuple(output.shape)} and {tuple(target.shape)}. Give the task a quality of its own."
                )
            broken = broken or bool(output.isnan().any())
            right += int((output.argmax(1) == target.cpu()).sum())
            total += len(target)
    if total == 0:
        raise TaskError("TaskError: accuracy got no examples. Is the split empty, or an iterator that was used up?")
    return float("nan") if broken else right / total
