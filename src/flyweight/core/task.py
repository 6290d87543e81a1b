"""What the user brings: a model, data, a loss, and a measure of quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from flyweight.core.step import Step

Batch = tuple[Tensor, ...]
"""The inputs of one forward pass, then the targets; every tensor has the examples along dimension 0."""

Forward = Callable[..., Any]
"""Anything that maps input tensors to output tensors: a module, or a runtime with a file opened in it."""

Batches = Iterable[Batch]
Loss = Callable[[Forward, Batch], Tensor]
Quality = Callable[[Forward, Batches], float]
Family = Callable[[float], nn.Module]
Augment = Callable[[Tensor], Tensor]
"""A label-invariant map from a batch of inputs ``(N, …)`` to another of the same shape."""

Fit = Callable[[nn.Module, "Task", Any], nn.Module]
"""A training loop: ``(model, task, train step) -> trained model``; ``learn.Fit()`` is ours.

One that takes a ``start`` and a ``stop`` after these (optimizer steps, counted from 0; None: the last) may be asked for
a part of the training.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """The data, in the four parts that keep a result honest.

    ``train`` is learnt from, ``calibrate`` sets quantization ranges (a part of train will do),
    ``select`` chooses among models, and ``report`` is read once, for the figure that is shown.
    Each is a map-style dataset whose items are tuples: a model's inputs as tensors, then its targets as tensors or
    plain numbers.
    """

    train: Dataset[Any]
    calibrate: Dataset[Any]
    select: Dataset[Any]
    report: Dataset[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A model, its data, and what good means.

    Required:
        name: names the task in reports and in the keys of kept results.
        model: the model to make smaller, faster or better; its baseline trains it by ``train``.
        example: the inputs of one forward pass, batch first (a batch of 1 or more).
        data: the four :class:`Splits`.
        loss: ``(forward, batch) -> scalar``; it must reach the model only by calling ``forward``.
        quality: ``(forward, batches) -> float``, higher is better. ``forward`` may be a module or a runtime.
    Optional:
        family: ``width -> untrained model``, where 1.0 gives ``model``'s size. Without it nothing is resized.
        train: the :class:`Step` that trains the baseline (a ``learn.Train``); None: ``model`` is trained already.
        tune: the :class:`Step` that tunes a model from which a part was taken away (a ``learn.Train``); None: a part of
            ``train``, or nothing where that is None too.
        augment: transformations of the inputs that keep the label; only the user can know which do.
        fit: the training loop, ``learn.Fit()`` by default.
        teacher: what distillation learns from when a recipe names no teacher; ``run`` sets its own input.
    """

    name: str
    model: nn.Module
    example: tuple[Tensor, ...]
    data: Splits
    loss: Loss
    quality: Quality
    family: Family | None = None
    train: Step | None = None
    tune: Step | None = None
    augment: tuple[Augment, ...] = ()
    fit: Fit | None = None
    teacher: Forward | None = None

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """The part of ``batch`` that a forward pass takes."""
        return tuple(batch[: len(self.example)])

    def targets(self, batch: Batch) -> tuple[Tensor, ...]:
        """The part of ``batch`` that follows the inputs."""
        return tuple(batch[len(self.example) :])


def batches(dataset: Dataset[Any], size: int = 256) -> Iterable[Batch]:
    """The examples of ``dataset`` in order, ``size`` at a time, the last batch as it comes.

    The result can be iterated again and again. A ``TensorDataset`` is sliced, which costs nothing;
    any other dataset goes through a ``DataLoader``.
    """
    return _Batches(dataset, size)


@dataclass(frozen=True)
class _Batches:
    dataset: Any
    size: int

    def __iter__(self) -> Any:
        tensors = getattr(self.dataset, "tensors", None)
        if tensors is not None and isinstance(self.dataset, torch.utils.data.TensorDataset):
            for start in range(0, len(self.dataset), self.size):
                yield tuple(t[start : start + self.size] for t in tensors)
            return
        for batch in torch.utils.data.DataLoader(self.dataset, batch_size=self.size):
            yield tuple(batch)

    def __len__(self) -> int:
        return (len(self.dataset) + self.size - 1) // self.size
