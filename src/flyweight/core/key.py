"""Keys: short names for (task, parent, step), equal where the work would be the same."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from flyweight import __version__
from flyweight.core.serial import to_json
from flyweight.core.source import classes_source, source, steps_source
from flyweight.core.step import Step
from flyweight.core.task import Task

_SAMPLED = 64
"""Examples read from each split for the task's key: enough to notice other data, quick on any data set."""


_known: weakref.WeakKeyDictionary[Task, str] = weakref.WeakKeyDictionary()
"""The keys of tasks that live: reading the data anew for each of a search's hundred keys would take its time."""


def task_key(task: Task) -> str:
    """A key of what the task says: its name, code, example, data, and the teacher that the user gave, if any.

    Code is that of the loss, the quality, the family, the fit and the augmentations, with the user's functions and
    objects that they reach (:mod:`flyweight.core.source`). Data enter by their length and by 64 examples spread over
    each split; where asking twice gives two answers (a data set that augments), by their length and code alone. The
    version of flyweight counts too. Two tasks of one key are taken as the same. A task is frozen, so its key is found
    once for each task object; for a task whose data were changed in place, make another object.
    """
    found = _known.get(task)
    if found is None:
        found = _known[task] = _task_key(task)
    return found


def _task_key(task: Task) -> str:
    digest = hashlib.sha256(f"{__version__} {task.name}".encode())
    for tensor in task.example:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    for thing in (task.loss, task.quality, task.family, task.fit, *task.augment):
        digest.update(source(thing).encode())
    if isinstance(task.teacher, nn.Module):
        digest.update(model_key(task.teacher).encode())
    elif task.teacher is not None:
        digest.update(source(task.teacher).encode())
    for split in (task.data.train, task.data.calibrate, task.data.select, task.data.report):
        _update_split(digest, split)
    return digest.hexdigest()[:16]


def model_key(model: nn.Module) -> str:
    """A key of a model's structure, of the code of its classes, and of every value in its state."""
    digest = hashlib.sha256(repr(model).encode())
    digest.update(classes_source(model).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        _update(digest, (tensor,))
    return digest.hexdigest()[:16]


def step_key(parent: str, step: Step) -> str:
    """The key of ``step`` taken after ``parent``: its fields, and its code where that is the user's own."""
    told = to_json(step)
    text = json.dumps([parent, told], sort_keys=True) + steps_source(told)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recipe_keys(recipe: Iterable[Step], model: nn.Module, task: Task) -> list[str]:
    """The key of every prefix of ``recipe``: one more than it has steps, the first that of ``model`` itself."""
    keys = [hashlib.sha256(f"{task_key(task)} {model_key(model)}".encode()).hexdigest()[:16]]
    for step in recipe:
        keys.append(step_key(keys[-1], step))
    return keys


def _update_split(digest: Any, split: Any) -> None:
    length = len(split)
    digest.update(str(length).encode())
    chosen = range(0, length, max(1, length // _SAMPLED))
    once, again = hashlib.sha256(), hashlib.sha256()
    for asked in (once, again):
        for index in chosen:
            _update(asked, split[index])
    if once.digest() == again.digest():
        digest.update(once.digest())
    else:  # each look is another draw: nothing of the values can be held
        digest.update(source(type(split)).encode())


def _update(digest: Any, items: Any) -> None:
    for item in items if isinstance(items, tuple | list) else (items,):
        if isinstance(item, Tensor):
            flat = item.detach().cpu().contiguous().reshape(-1)
            digest.update(str(flat.dtype).encode())
            digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
        else:
            digest.update(repr(item).encode())
