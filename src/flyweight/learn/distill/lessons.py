"""What the teachers say to a batch: asked once, kept in memory and in the store, looked up after that."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from flyweight.core.answer import answer
from flyweight.core.errors import TaskError
from flyweight.core.key import model_key, task_key
from flyweight.core.recipe import Ensemble
from flyweight.core.store import shelf
from flyweight.core.task import Task, batches
from flyweight.core.weights import load_state, save_state
from flyweight.learn.context import Context

_LARGEST_BYTES = 2 * 2**30
_PROBED = 32


@dataclass
class _Memory:
    table: Tensor | None = None
    tried: bool = False
    inputs: tuple[Tensor, ...] = ()
    versions: tuple[int, ...] = ()
    outputs: Tensor | None = None


_memories: weakref.WeakKeyDictionary[Task, _Memory] = weakref.WeakKeyDictionary()


def lessons(context: Context, inputs: tuple[Tensor, ...], cache: bool) -> Tensor:
    """The teachers' outputs for ``inputs``, ``(N, teachers, …)`` in float32, without gradient.

    For inputs that are not augmented, with ``cache``, the teachers see the training set once, in full float32, and
    their outputs are kept exactly: in memory while this task lives, and in the store's ``teachers/`` under a key of
    the teachers' weights and the data. Outputs of over 2 GiB in all, and data sets that give another item each time,
    are not kept: the teachers are then asked at every batch, in the student's precision.
    Raises :class:`TaskError` where the task has no teacher.
    """
    teacher: Any = context.task.teacher
    if teacher is None:
        raise TaskError(
            "TaskError: distillation needs a teacher, and the task has none. Name one: "
            "distilled(teachers=((Resize(1.4), Train(epochs=20)),)), or set task.teacher; "
            "fw.run takes the model that it is given when neither is there."
        )
    if isinstance(teacher, nn.Module) and teacher.training:
        teacher.eval()
    memory = _memories.setdefault(context.task, _Memory())
    if cache and not context.augmented:
        if not memory.tried:
            memory.table, memory.tried = _table(context.task, inputs[0].device), True
        if memory.table is not None:
            return memory.table.index_select(0, context.indices.to(memory.table.device))
    versions = tuple(t._version for t in inputs)
    same = len(inputs) == len(memory.inputs) and all(a is b for a, b in zip(inputs, memory.inputs, strict=True))
    if memory.outputs is None or not same or versions != memory.versions:
        with torch.no_grad(), context.autocast():
            memory.outputs = _asked(teacher, inputs)
        memory.inputs, memory.versions = inputs, versions
    return memory.outputs


def _asked(teacher: Any, inputs: tuple[Tensor, ...]) -> Tensor:
    outputs = answer(teacher(*inputs), "the teacher")
    return (outputs.movedim(0, 1) if isinstance(teacher, Ensemble) else outputs.unsqueeze(1)).float()


def _table(task: Task, device: torch.device) -> Tensor | None:
    dataset: Any = task.data.train
    if type(dataset) is not TensorDataset and not _repeats(dataset):
        return None
    folder = shelf("teachers")
    if folder is None or not isinstance(task.teacher, nn.Module):
        return _computed(task, device)
    path = folder / f"{_key(task, device)}.safetensors"
    with _alone(path):
        if path.exists():
            return load_state(path)["outputs"].to(device)
        table = _computed(task, device)
        if table is not None:
            save_state({"outputs": table}, path)
        return table


@torch.no_grad()
def _computed(task: Task, device: torch.device) -> Tensor | None:
    found: list[Tensor] = []
    count = len(task.data.train)  # type: ignore[arg-type]
    for batch in batches(task.data.train):
        outputs = _asked(task.teacher, tuple(t.to(device) for t in task.inputs(batch)))
        if not found and outputs[0].nbytes * count > _LARGEST_BYTES:
            return None
        found.append(outputs)
    return torch.cat(found)


def _key(task: Task, device: torch.device) -> str:
    """Of the teacher's structure and weights, every input of the training set where it is tensors, and the device."""
    assert isinstance(task.teacher, nn.Module)
    digest = hashlib.blake2b(f"{model_key(task.teacher)} {device.type}".encode(), digest_size=12)
    dataset = task.data.train
    if isinstance(dataset, TensorDataset):
        for tensor in task.inputs(dataset.tensors):
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    else:
        digest.update(task_key(task).encode())
    return digest.hexdigest()


def _repeats(dataset: Any) -> bool:
    """Whether ``dataset`` gives the same items when asked twice, as far as a few of them tell."""
    step = max(1, len(dataset) // _PROBED)
    for index in range(0, len(dataset), step):
        first, second = dataset[index], dataset[index]
        if not all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(first, second, strict=True)):
            return False
    return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lets one process in at a time, so that of several workers one asks the teachers and the others read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
