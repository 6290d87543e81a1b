"""The usual loss of a classifier, in the form that tasks take."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from flyweight.core.task import Batch, Forward


def cross_entropy(forward: Forward, batch: Batch) -> Tensor:
    """−mean log softmax(f(x))[y], in nats, where ``batch`` is the inputs, then the targets.

    Outputs are logits ``(N, classes)``; targets are classes ``(N,)`` or probabilities ``(N, classes)``.
    """
    *inputs, target = batch
    return F.cross_entropy(forward(*inputs), target)
