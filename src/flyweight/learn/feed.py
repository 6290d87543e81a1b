"""Training examples in a random order that a seed decides, cut into the pieces of each optimizer step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from flyweight.core.task import Batch
from flyweight.learn.epoch_steps import epoch_steps
from flyweight.learn.randomness import derived

Piece = tuple[Batch, Tensor, float]
"""A batch on the device, its examples' indices, and the weight of its mean loss in the step's."""

_RESIDENT_BYTES = 4 * 2**30


class Feed:
    """The pieces of every optimizer step of an epoch, for this process.

    A step of ``batch_size`` examples is cut into ``accumulate`` pieces for each of ``processes``. A piece weighs its
    share of the step's examples, times ``processes``, since gradients are averaged over these: so the sum is the mean
    over the step's true count, however unevenly it was cut.

    A ``TensorDataset`` is moved to the device whole, when it has room, and indexed there; any other dataset goes
    through a ``DataLoader`` of ``workers``.
    """

    def __init__(
        self, dataset: Any, batch_size: int, device: torch.device, seed: int, pieces: tuple[int, int, int], workers: int
    ) -> None:
        self.dataset, self.batch_size, self.device, self.seed, self.workers = dataset, batch_size, device, seed, workers
        self.accumulate, self.rank, self.processes = pieces
        self.count = len(dataset)
        self.steps = epoch_steps(self.count, batch_size)
        self.tensors = _resident(dataset, device)

    def epoch(self, number: int, start: int = 0, stop: int | None = None) -> Iterator[list[Piece]]:
        """The pieces of each step of epoch ``number``, from step ``start`` on, up to ``stop`` where that is given."""
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(derived("order", self.seed, number)))
        plan = [self._cut(step) for step in range(start, self.steps if stop is None else stop)]
        if self.tensors is None:
            return self._loaded(plan, order)
        return self._indexed(plan, order.to(self.device))

    def _cut(self, step: int) -> list[tuple[int, int, float]]:
        first = step * self.batch_size
        last = self.count if step == self.steps - 1 else first + self.batch_size
        count, parts = last - first, self.accumulate * self.processes
        if parts == 1:
            return [(first, last, 1.0)]
        cut = []
        for turn in range(self.accumulate):
            if turn * self.processes >= count:
                break
            part = turn * self.processes + self.rank
            low, high = (first + p * (count // parts) + min(p, count % parts) for p in (part, part + 1))
            # A process left without examples must still take part in the average: it repeats some, at weight 0.
            share = (high - low) / count * self.processes
            cut.append((low, high, share) if high > low else (last - min(2, count), last, 0.0))
        return cut

    def _indexed(self, plan: list[list[tuple[int, int, float]]], order: Tensor) -> Iterator[list[Piece]]:
        assert self.tensors is not None
        tensors = self.tensors
        for cut in plan:
            pieces = []
            for low, high, weight in cut:
                indices = order[low:high]
                pieces.append((tuple(t.index_select(0, indices) for t in tensors), indices, weight))
            yield pieces

    def _loaded(self, plan: list[list[tuple[int, int, float]]], order: Tensor) -> Iterator[list[Piece]]:
        wanted = [order[low:high].tolist() for cut in plan for low, high, _ in cut]
        pinned = self.device.type == "cuda"
        # A generator of its own, or the loader would draw from torch's, in whichever step a run begins or resumes.
        own = torch.Generator().manual_seed(derived("loader", self.seed))
        loader = iter(
            DataLoader(self.dataset, batch_sampler=wanted, num_workers=self.workers, pin_memory=pinned, generator=own)
        )
        for cut in plan:
            pieces = []
            for low, high, weight in cut:
                batch = tuple(t.to(self.device, non_blocking=pinned) for t in next(loader))
                pieces.append((batch, order[low:high].to(self.device), weight))
            yield pieces


def _resident(dataset: Any, device: torch.device) -> tuple[Tensor, ...] | None:
    if type(dataset) is not TensorDataset:
        return None
    size = sum(t.nbytes for t in dataset.tensors)
    if device.type == "cuda" and (size > _RESIDENT_BYTES or size > torch.cuda.mem_get_info(device)[0] // 2):
        return None
    return tuple(t.to(device) for t in dataset.tensors)
