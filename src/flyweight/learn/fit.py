"""The training loop that tasks use unless they bring their own: any device, any precision, one process or many."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from flyweight.core.crew import crew
from flyweight.core.data_check import check_data
from flyweight.core.errors import FlyweightError, TrainingError
from flyweight.core.key import model_key
from flyweight.core.serial import to_json
from flyweight.core.source import BY_CODE
from flyweight.core.store import scratch
from flyweight.core.task import Task
from flyweight.learn.epoch_steps import epoch_steps
from flyweight.learn.feed import Feed
from flyweight.learn.hardware import (
    PRECISIONS,
    accelerator,
    chosen_device,
    chosen_precision,
    lay_out,
    tuned_kernels,
    wants_channels_last,
)
from flyweight.learn.interrupt import deferred
from flyweight.learn.loop import Loop
from flyweight.learn.progress import Progress
from flyweight.learn.randomness import preserved

if TYPE_CHECKING:
    from flyweight.learn.train import Train


@dataclass(frozen=True)
class Fit:
    """``Fit()(model, task, train)`` trains ``model`` and returns it on the CPU, in eval mode.

    ``device`` is ``"auto"``, ``"cpu"``, ``"cuda"``, …; ``precision`` ``"auto"``, ``"no"``, ``"bf16"`` or ``"fp16"``
    (of forward passes; weights stay float32). ``accumulate`` cuts each step's batch into that many pieces, to save
    memory. Inside a store a killed run goes on from its last checkpoint, at most ``checkpoint_seconds`` old, to the
    same result: bit for bit on a CPU, and on CUDA under ``torch.use_deterministic_algorithms(True)``. Under
    ``torchrun`` every process takes its share of each step. ``workers`` load data that are no ``TensorDataset``; leave
    0 where the data set is random itself. Ctrl-C ends the step in hand, keeps the progress, and then interrupts.

    ``after_step`` are called with the :class:`Progress` of every optimizer step, after the modules' own. They count in
    keys by their code, not by what they hold; a resumed run does not repeat earlier calls. Training shows a bar on a
    terminal unless the environment has ``NO_PROGRESS``.
    """

    device: str = "auto"
    precision: str = "auto"
    accumulate: int = 1
    checkpoint_seconds: float = 10.0
    workers: int = 0
    after_step: tuple[Callable[[Progress], None], ...] = field(default=(), metadata={BY_CODE: True})

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise FlyweightError(f"FlyweightError: Fit got precision={self.precision!r}. Choose one of {known}.")
        for name, least in (("accumulate", 1), ("workers", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise FlyweightError(f"FlyweightError: Fit got {name}={value!r}. Give a whole number, {least} or more.")
        if not isinstance(self.after_step, tuple) or not all(map(callable, self.after_step)):
            raise FlyweightError(
                f"FlyweightError: Fit got after_step={self.after_step!r}. Give a tuple of functions of the progress."
            )
        if not self.checkpoint_seconds >= 0:
            raise FlyweightError(
                f"FlyweightError: Fit got checkpoint_seconds={self.checkpoint_seconds!r}. Give 0 or more seconds."
            )

    def __call__(
        self, model: nn.Module, task: Task, train: Train, start: int = 0, stop: int | None = None
    ) -> nn.Module:
        """Trains ``model`` in place by ``train``; of its optimizer steps, counted from 0, only those from ``start`` up
        to ``stop`` where these are given, with a new optimizer.

        Such a step sees the examples, the learning rate and the random numbers that it sees in the whole training.
        Raises :class:`TaskError` for data that do not fit and :class:`FlyweightError` for steps that there are not,
        before training, and :class:`TrainingError` for a loss that is no number.
        """
        check_data(task.data.train, task.example, f"task {task.name!r}: data.train")
        device = chosen_device(self.device)
        precision = chosen_precision(self.precision, device, model)
        steps = _steps(train, len(cast("Sized", task.data.train)), start, stop)
        checkpoint = self._checkpoint(model, train, steps, device, precision)
        own = dict(model.__dict__)
        with contextlib.ExitStack() as stack:
            interrupt = stack.enter_context(deferred())
            hardware = stack.enter_context(accelerator(device, precision))
            stack.enter_context(preserved(hardware.device))
            stack.enter_context(tuned_kernels(hardware.device))
            layout = wants_channels_last(model, task.example, hardware.device, precision)
            model.to(hardware.device)
            if layout:
                lay_out(model, True)
            stack.callback(_undo, model, own, layout)
            optimizer = train.optimizer(model)
            forward = hardware.prepare_model(model)
            pieces = (self.accumulate, hardware.process_index, hardware.num_processes)
            feed = Feed(task.data.train, train.batch_size, hardware.device, train.seed, pieces, self.workers)
            teacher = _placed(task.teacher if train.loss else None, hardware.device, layout)
            bar = stack.enter_context(self._bar(steps, hardware.is_main_process))
            Loop(
                task=dataclasses.replace(task, teacher=teacher),
                train=train,
                model=model,
                forward=forward,
                optimizer=optimizer,
                feed=feed,
                steps=steps,
                accelerator=hardware,
                channels_last=layout,
                checkpoint=checkpoint,
                every=self.checkpoint_seconds,
                bar=bar,
                interrupt=interrupt,
                after_step=self.after_step,
            ).run()
            _agree(model, hardware.num_processes)
        _check_finite(model)
        return model.eval()

    def _checkpoint(
        self, model: nn.Module, train: Train, steps: range, device: torch.device, precision: str
    ) -> Path | None:
        """The file for this very fit: another model, setting or kind of machine does not find it."""
        folder = scratch()
        if folder is None:
            return None
        of = [steps.start, steps.stop]
        told = [to_json(train), of, model_key(model), self.accumulate, device.type, precision, crew()[1]]
        return folder / f"fit-{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]}.safetensors"

    @contextlib.contextmanager
    def _bar(self, steps: range, main: bool) -> Iterator[Any]:
        from tqdm.auto import tqdm

        quiet = not (main and sys.stderr.isatty()) or bool(os.environ.get("NO_PROGRESS"))
        with tqdm(total=len(steps), desc="training", unit="step", leave=False, disable=quiet) as bar:
            yield bar


def _steps(train: Train, examples: int, start: int, stop: int | None) -> range:
    total = train.epochs * epoch_steps(examples, train.batch_size)
    stop = total if stop is None else stop
    if not 0 <= start <= stop <= total:
        raise FlyweightError(
            f"FlyweightError: Fit got start={start!r} and stop={stop!r}, and the training has {total} optimizer steps. "
            f"Give steps of it: 0 <= start <= stop <= {total}."
        )
    return range(start, stop)


def _undo(model: nn.Module, own: dict[str, Any], layout: bool) -> None:
    """Takes off what preparation put on the model: wrapped forward, device, memory layout, gradients."""
    for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
        model.__dict__.pop(name, None)
        if name in own:
            model.__dict__[name] = own[name]
    model.zero_grad(set_to_none=True)
    model.to("cpu")
    if layout:
        lay_out(model, False)


def _placed(teacher: Any, device: torch.device, layout: bool) -> Any:
    """The teacher, copied to the student's device and frozen; one that is no module is called with CPU tensors."""
    if isinstance(teacher, nn.Module):
        placed = copy.deepcopy(teacher).to(device).eval().requires_grad_(False)
        if layout:
            lay_out(placed, True)
        return placed
    if teacher is None or device.type == "cpu":
        return teacher
    return lambda *inputs: teacher(*(i.cpu() for i in inputs)).to(device)


def _agree(model: nn.Module, processes: int) -> None:
    """Gives every process the first one's buffers: batch-norm statistics are of each one's own share of the data."""
    if processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def _check_finite(model: nn.Module) -> None:
    broken = [name for name, p in model.named_parameters() if p.is_floating_point() and not torch.isfinite(p).all()]
    if broken:
        raise TrainingError(
            f"TrainingError: after the last step {broken[0]!r} and {len(broken) - 1} other parameter(s) hold NaN or "
            "infinity. Try a learning rate ten times lower, warmup=0.05 or clip=1.0."
        )
