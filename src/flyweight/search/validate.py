"""Looks a task over before hours are spent on it."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from flyweight.core.data_check import check_data, told
from flyweight.core.errors import FlyweightError, TaskError
from flyweight.core.serial import to_json
from flyweight.core.task import Batch, Task, batches
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.runtimes.open import open_artifact
from flyweight.deploy.score import as_number
from flyweight.learn.train import Train
from flyweight.surgery.modes import evaluated


def validate(task: Task, runtime: str = "onnxruntime", threads: int = 1) -> None:
    """Raises where ``task`` contradicts itself or cannot be deployed; takes a few forward passes and one export.

    The exported file is opened in ``runtime`` on ``threads`` threads, and called once.

    :class:`TaskError`: a split is empty, its items do not fit ``example``, the model, the loss or an augmentation
    fails on a batch. :class:`MetricError`: the quality of the model as it came is NaN or no number.
    :class:`ExportError`: the model cannot become a file, with the operation's name. :class:`MissingExtraError`,
    :class:`ArtifactError`: the runtime is not installed, or cannot open the file.
    """
    to_json((task.train, task.tune, task.augment))  # what has no name to be found by cannot stand in a recipe
    for name in (f.name for f in dataclasses.fields(task.data)):
        _check_split(task, name)
    model = task.model
    with torch.random.fork_rng(), evaluated(model):
        torch.manual_seed(0)
        _check_forward(task, model)
        _check_loss(task, model)
        _check_augment(task)
        _check_quality(task, model)
        with tempfile.TemporaryDirectory() as folder:
            artifact = export_onnx(model, task, Path(folder) / "model.onnx")
            session = open_artifact(artifact, runtime, threads)
            session(*(t.numpy() for t in task.example))


def _check_split(task: Task, name: str) -> None:
    data: Any = getattr(task.data, name)
    length = len(data)
    if length == 0 and name == "train" and task.train is None and task.tune is None:
        return
    check_data(data, task.example, f"task {task.name!r}: data.{name}", sorted({0, length // 2, max(0, length - 1)}))


def _check_forward(task: Task, model: nn.Module) -> None:
    with torch.no_grad():
        _attempt(task, "the model fails on `example`", lambda: model(*task.example))


def _check_loss(task: Task, model: nn.Module) -> None:
    if task.train is None and task.tune is None:
        return
    batch = _few(task)
    with torch.enable_grad():
        loss = _attempt(task, "the loss fails on a batch of data.train", lambda: task.loss(model, batch))
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not torch.isfinite(loss).all():
        got = told(loss) if not isinstance(loss, Tensor) or loss.numel() != 1 else f"{loss.item()}"
        raise TaskError(
            f"TaskError: task {task.name!r}: loss(model, batch) gave {got} on a batch of data.train, and has to give "
            "one finite number, as a tensor."
        )
    steps = (task.train, task.tune)
    learnt = any(isinstance(step, Train) and step.loss is None for step in steps) and task.fit is None
    if learnt and not loss.requires_grad:
        raise TaskError(
            f"TaskError: task {task.name!r}: loss(model, batch) carries no gradient, so nothing can be learnt from it. "
            "It has to be made of what model(*inputs) returns, outside torch.no_grad(), and some parameter of the "
            "model has to require a gradient; a model that needs no training takes train=None."
        )


def _check_augment(task: Task) -> None:
    if not task.augment:
        return
    inputs = task.inputs(_few(task))[0]
    for augment in task.augment:
        result = _attempt(task, f"the augmentation {augment!r} fails", functools.partial(augment, inputs))
        if not isinstance(result, Tensor) or result.shape != inputs.shape:
            raise TaskError(
                f"TaskError: task {task.name!r}: the augmentation {augment!r} made {told(result)} of "
                f"{told(inputs)}. It has to keep the shape."
            )


def _check_quality(task: Task, model: nn.Module) -> None:
    with torch.no_grad():
        quality = _attempt(task, "quality fails on data.select", lambda: task.quality(model, batches(task.data.select)))
    as_number(quality, task, "select")


def _few(task: Task) -> Batch:
    data: Any = task.data.train
    return next(iter(batches(Subset(data, range(min(8, len(data)))))))


def _attempt(task: Task, what: str, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except FlyweightError:
        raise
    except Exception as error:
        raise TaskError(f"TaskError: task {task.name!r}: {what}: {type(error).__name__}: {error}") from error
