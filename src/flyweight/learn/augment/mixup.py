"""Mixup: the student sees two examples at once, and answers for both in proportion."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.task import Batch, Forward
from flyweight.learn.context import Context, Objective
from flyweight.learn.recorded import recorded


@dataclass(frozen=True)
class mixed:
    """An objective that mixes each batch with a permutation of itself.

    ``x = λ·x_a + (1 − λ)·x_b`` and ``L = λ·inner(x, y_a) + (1 − λ)·inner(x, y_b)``, with one ``λ ~ Beta(alpha, alpha)``
    a batch and one pass through the student. ``inner`` None is the task's own loss; with ``distilled`` the teachers see
    the mixed inputs. ``alpha=0`` mixes nothing. Raises :class:`UnsupportedError` for inputs of whole numbers.
    Source: Zhang, Cissé, Dauphin and Lopez-Paz, 2018, arXiv:1710.09412, eq. 1.
    """

    alpha: float = 1.0
    inner: Objective | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < float("inf"):
            raise FlyweightError(f"FlyweightError: mixed got alpha={self.alpha!r}. Give 0 or more; .1 to 1 are usual.")
        if isinstance(self.inner, type) or not (self.inner is None or callable(self.inner)):
            raise FlyweightError(
                f"FlyweightError: mixed got inner={self.inner!r}. Give an objective such as distilled(), "
                "or None: the task's loss."
            )

    def __call__(self, forward: Forward, batch: Batch, context: Context) -> Tensor:
        if self.alpha == 0:
            return self._inside(forward, batch, context)
        task = context.task
        inputs = task.inputs(batch)
        for place, tensor in enumerate(inputs):
            if not tensor.is_floating_point():
                raise UnsupportedError(
                    f"UnsupportedError: mixed can't mix input {place} of dtype {tensor.dtype}: a mean of whole "
                    "numbers, such as token ids, means nothing. Leave mixed out, or mix inside the model, "
                    "after its embedding."
                )
        share = float(torch.distributions.Beta(self.alpha, self.alpha).sample())
        order = torch.randperm(len(batch[0]), device=batch[0].device)
        blend = tuple(torch.lerp(t[order], t, share) for t in inputs)
        answer = recorded(forward(*blend))
        here = dataclasses.replace(context, augmented=True)
        there = dataclasses.replace(here, indices=context.indices[order])
        swapped = tuple(t[order] for t in task.targets(batch))
        return share * self._inside(answer, (*blend, *task.targets(batch)), here) + (1 - share) * self._inside(
            answer, (*blend, *swapped), there
        )

    def _inside(self, forward: Forward, batch: Batch, context: Context) -> Tensor:
        return context.task.loss(forward, batch) if self.inner is None else self.inner(forward, batch, context)
