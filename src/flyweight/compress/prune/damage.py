"""What the loss says of a pool that is cut alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from flyweight.compress.prune.cut import Judged, counts
from flyweight.compress.prune.pool import Damage, Pool, strongest
from flyweight.core.errors import TrainingError
from flyweight.core.task import Task, batches
from flyweight.surgery.device import device_of
from flyweight.surgery.mask import Mask
from flyweight.surgery.modes import evaluated


def damage_of(model: nn.Module, task: Task, found: Judged) -> Damage:
    """``(pool, ratio) -> `` the rise of the task's loss over the calibration set when that pool alone is cut.

    Units go by the saliency in ``found``; the masks are then what they were. Raises :class:`TrainingError` where the
    loss is no number.
    """
    whole = _loss(model, task)
    index = {id(pool): place for place, pool in enumerate(found.pools)}

    def damage(pool: Pool, ratio: float) -> float:
        saliency = found.saliency[index[id(pool)]]
        with _restored(model, pool):
            pool.write(strongest(saliency, counts([pool], [ratio])[0]))
            return _loss(model, task) - whole

    return damage


@torch.no_grad()
def _loss(model: nn.Module, task: Task) -> float:
    """The mean of the loss over the calibration set's examples."""
    device = device_of(model)
    total = torch.zeros((), dtype=torch.float64, device=device)
    examples = 0
    with evaluated(model):
        for batch in batches(task.data.calibrate):
            total += task.loss(model, tuple(t.to(device) for t in batch)).double() * len(batch[0])
            examples += len(batch[0])
    mean = float(total) / max(1, examples)
    if mean - mean != 0:  # NaN or infinite
        raise TrainingError(
            f"TrainingError: the loss on the calibration set is {mean}, so no layer's sensitivity can be measured. "
            "Look for NaN in the data or the weights, or use distribution=uniform()."
        )
    return mean


@contextmanager
def _restored(model: nn.Module, pool: Pool) -> Iterator[None]:
    kept = [(gate, {n: b.clone() for n, b in gate.named_buffers(recurse=False)}) for gate in pool.gates]
    try:
        yield
    finally:
        for gate, buffers in kept:
            if isinstance(gate, Mask):
                gate.keep.copy_(buffers["keep"])
            else:
                gate.load_state_dict(buffers, strict=False)
