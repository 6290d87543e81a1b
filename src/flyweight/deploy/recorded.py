"""Data together with what a model returned for it, so that the model is asked once and its answers drawn from often."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flyweight.core.task import Batch, Forward, batches

if TYPE_CHECKING:
    from torch.utils.data import Dataset

_KEPT_BYTES = 1 << 30
"""Examples, or outputs, kept for drawing from; beyond it every k-th batch is."""


class Recorded:
    """The batches of a dataset, kept, so that a model's outputs can be found by the very tensors it was given.

    Where the whole would be too large, every k-th batch is kept; ``share`` tells how much that is.
    """

    def __init__(self, forward: Forward, dataset: Dataset[Any], size: int, inputs: int) -> None:
        self._model, self._batches, self._inputs, self.size = forward, batches(dataset, size), inputs, size
        self._count = -(-len(dataset) // size)  # type: ignore[arg-type]
        self._every = 0
        self._kept: dict[int, Batch] = {}
        self._places: dict[int, int] = {}
        self._outputs: dict[int, Any] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        if len(self._kept) == self._count:
            yield from self._kept.values()
            return
        for index, batch in enumerate(self._batches):
            self._thin(batch)
            given = self._kept.get(index, batch)
            if index % self._every == 0 and index not in self._kept:
                self._kept[index] = batch
                self._places[id(batch[0])] = index
            yield given

    @property
    def share(self) -> float:
        """The share of the batches that are kept."""
        return len(self._kept) / self._count

    def forward(self, *inputs: Any) -> Any:
        """What the model returns; it is not asked twice for the same tensors."""
        index = self._place(inputs)
        if index is None:
            return self._model(*inputs)
        if index in self._outputs:
            return each(self._outputs[index], torch.clone)
        output = self._model(*inputs)
        if not self._outputs:
            self._thin(leaves(output))
        # A copy: a metric may change in place what it is given.
        self._outputs[index] = each(output, lambda t: t.detach().cpu().clone())
        return output

    def drawn(self, index: Tensor) -> tuple[Forward, list[Batch]]:
        """Examples ``index`` of those kept, in batches of the same size, and the model answering from memory.

        Asked for anything else than these batches' inputs, it computes.
        """
        whole, outputs = self.whole()
        parts = torch.split(index, self.size)
        picked = [tuple(t[part] for t in whole) for part in parts]
        answers = {
            id(batch[0]): (batch, part) for batch, part in zip(picked, parts, strict=True) if outputs is not None
        }

        def forward(*inputs: Any) -> Any:
            batch, part = answers.get(id(inputs[0]) if inputs else 0, ((), None))
            if (
                part is None
                or len(inputs) != self._inputs
                or any(a is not b for a, b in zip(inputs, batch, strict=False))
            ):
                return self._model(*inputs)
            return each(outputs, lambda t: t[part])

        return forward, picked

    def whole(self) -> tuple[Batch, Any]:
        """Every kept example, and its outputs, or None where some are missing or they are not one an example."""
        if self._whole is None:
            kept = [self._kept[i] for i in sorted(self._kept)]
            outputs = [self._outputs.get(i) for i in sorted(self._kept)]
            fits = all(o is not None and _lengths(o) == {len(b[0])} for b, o in zip(kept, outputs, strict=True))
            joined = tuple(torch.cat(parts) for parts in zip(*kept, strict=True))
            self._whole = joined, _joined(outputs) if fits else None
        return self._whole

    _whole: tuple[Batch, Any] | None = None

    def _place(self, inputs: Sequence[Any]) -> int | None:
        index = self._places.get(id(inputs[0])) if len(inputs) == self._inputs else None
        if index is None or any(a is not b for a, b in zip(inputs, self._kept[index], strict=False)):
            return None  # what a metric has changed is another tensor
        return index

    def _thin(self, tensors: Sequence[Tensor]) -> None:
        total = sum(t.numel() * t.element_size() for t in tensors) * self._count
        self._every = max(self._every, 1, -(-total // _KEPT_BYTES))


def each(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``function`` taken of every tensor in it; tuples, lists and dicts keep their shape."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {k: each(v, function) for k, v in value.items()}
    if isinstance(value, tuple | list):
        parts = [each(v, function) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def leaves(value: Any) -> list[Tensor]:
    """The tensors in ``value``, in order."""
    found: list[Tensor] = []

    def take(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    each(value, take)
    return found


def _lengths(value: Any) -> set[int]:
    return {len(t) if t.ndim else -1 for t in leaves(value)}


def _joined(values: Sequence[Any]) -> Any:
    columns = [iter(leaves(v)) for v in values]
    return each(values[0], lambda _: torch.cat([next(c) for c in columns]))
