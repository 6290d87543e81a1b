"""A loss with a price on the model's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from flyweight.core.errors import FlyweightError
from flyweight.core.takes import takes
from flyweight.core.task import Batch, Forward
from flyweight.learn.context import Context, Objective

Penalty = Callable[[nn.Module, Context], Tensor]
"""``(model, context) -> scalar``: what is added to the loss; a frozen dataclass that reads parameters, not batches."""


@dataclass(frozen=True)
class penalized:
    """An objective: ``L = loss + penalty(model)``.

    ``loss`` None is the task's own; else another objective, ``penalized`` with another penalty among them. Around
    ``mixed`` the penalty is asked once a batch; inside it, twice, to the same sum. The penalty is in full precision.

    Weight decay of the optimizer acts beside it: ``adam`` and ``sgd`` decay weights of two or more dimensions, so
    ``l1`` and ``group_lasso`` come on top of it, while ``slimming`` and gates, whose parameters are vectors, are left
    to the penalty alone. Under ``adam`` a penalty's gradient is divided by the same running size as the loss's, so that
    ``strength`` means less where gradients are large; ``sgd`` takes it as it is.

    The minimum of such a sum holds zeros, yet a gradient step hovers about them: values come out small, not 0. A
    ``Prune`` that follows makes the zeros. (A proximal step would too, but not with every optimizer, and magnitude
    pruning needs no exact zeros.) Raises :class:`FlyweightError` where the training loop does not tell the model.
    """

    penalty: Penalty
    loss: Objective | None = None

    def __post_init__(self) -> None:
        if not takes(self.penalty, 2):
            raise FlyweightError(
                f"FlyweightError: penalized got penalty={self.penalty!r}. Give a penalty such as slimming(1e-4)."
            )
        if not (self.loss is None or takes(self.loss, 3)):
            raise FlyweightError(
                f"FlyweightError: penalized got loss={self.loss!r}. Give an objective such as distilled(), or None: "
                "the task's loss."
            )

    def __call__(self, forward: Forward, batch: Batch, context: Context) -> Tensor:
        if context.model is None:
            raise FlyweightError(
                "FlyweightError: penalized needs the model whose parameters it prices, and the context has none. "
                "A training loop of your own gives it: Context(task, indices, model=model)."
            )
        here = context.task.loss(forward, batch) if self.loss is None else self.loss(forward, batch, context)
        return here + self.penalty(context.model, context)


def check_strength(name: str, strength: float) -> None:
    """Raises :class:`FlyweightError` for a strength that is negative or no number."""
    if not 0 <= strength < float("inf"):
        raise FlyweightError(
            f"FlyweightError: {name} got strength={strength!r}. Give 0 or more; 1e-5 to 1e-2 are usual."
        )
