"""The training loop itself, between a prepared model and its last step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.core.errors import TrainingError
from flyweight.core.task import Task
from flyweight.learn.checkpoint import load_progress, save_progress
from flyweight.learn.context import Context
from flyweight.learn.feed import Feed, Piece
from flyweight.learn.interrupt import Interrupt
from flyweight.learn.progress import Progress
from flyweight.learn.randomness import reseed

_LOOK_SECONDS = 2.0
"""How often losses are read back from the device, to show them and to notice one that is no number."""


@dataclass(eq=False, kw_only=True)
class Loop:
    """One training run: ``forward`` is what objectives call, ``model`` the module under it.

    ``steps`` are the optimizer steps that it takes, counted from 0, of all that ``train`` has. What a step sees hangs
    on its number alone: its examples, its learning rate and its random numbers, which are seeded for each step. So a
    run that begins anywhere else goes the same way from there. ``checkpoint`` is a file for progress, or None;
    ``every`` the least seconds between two writes of it.
    """

    task: Task
    train: Any
    model: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    feed: Feed
    steps: range
    accelerator: Any
    channels_last: bool
    checkpoint: Path | None
    every: float
    bar: Any
    interrupt: Interrupt
    after_step: tuple[Callable[[Progress], object], ...] = ()

    def run(self) -> None:
        """Trains from the checkpoint, or from the first of its steps, to the last."""
        self.total = self.train.epochs * self.feed.steps
        self.scaler = self.accelerator.scaler
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.listeners = [*_listeners(self.model), *self.after_step]
        self.losses: list[Tensor] = []
        self.seen = 0
        self.saved = self.looked = time.monotonic()
        self.model.train()
        done = self._resumed()
        self.bar.update(done - self.steps.start)
        for step, pieces in self._ahead(done):
            self._step(pieces, step)
            done = step + 1
            self.bar.update(1)
            now = time.monotonic()
            if now - self.looked > _LOOK_SECONDS or self.interrupt.asked:
                self._look(done)
            if self.interrupt.asked or now - self.saved > self.every:
                self._save(done)
                self.interrupt.raise_if_asked()
        self._look(done)
        if time.monotonic() - self.saved > self.every:
            self._save(done)

    def _ahead(self, done: int) -> Iterator[tuple[int, list[Piece]]]:
        """The steps that are to come, each with its pieces; generators are set before those are made."""
        each = self.feed.steps
        for epoch in range(done // each, -(-self.steps.stop // each)):
            steps = range(max(done, epoch * each), min(self.steps.stop, (epoch + 1) * each))
            feed = self.feed.epoch(epoch, steps.start - epoch * each, steps.stop - epoch * each)
            for step in steps:
                reseed(self.accelerator.device, "step", self.train.seed, step, self.accelerator.process_index)
                yield step, next(feed)

    def _step(self, pieces: list[Piece], done: int) -> None:
        factor = self.train.optimizer.factor(done, self.total)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        total: Tensor | None = None
        for turn, (batch, indices, weight) in enumerate(pieces):
            with nullcontext() if turn == len(pieces) - 1 else self.accelerator.no_sync(self.forward):
                loss = self._loss(batch, indices, done / self.total)
                if weight != 1.0:
                    loss = loss * weight
                (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            total = loss.detach() if total is None else total + loss.detach()
        scale = None
        if self.listeners and self.scaler is not None and total is not None:
            scale = self.scaler.scale(torch.ones_like(total))  # of this step: the scaler's update below changes it
        clip = self.train.optimizer.clip
        if clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if total is not None:
            self.losses.append(total)
        if self.listeners:
            progress = Progress(done + 1, self.total, self.optimizer, scale)
            for after_step in self.listeners:
                after_step(progress)

    def _loss(self, batch: tuple[Tensor, ...], indices: Tensor, fraction: float) -> Tensor:
        train, task = self.train, self.task
        if train.augment:
            with torch.no_grad():
                changed = batch[0]
                for augment in train.augment:
                    changed = augment(changed)
            batch = (changed, *batch[1:])
        if self.channels_last:
            batch = tuple(t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in batch)
        if train.loss is None:
            loss = task.loss(self.forward, batch)
        else:
            context = Context(task, indices, bool(train.augment), self.accelerator.autocast, self.model, fraction)
            loss = train.loss(self.forward, batch, context)
        if loss.ndim:
            raise TrainingError(
                f"TrainingError: the loss has shape {tuple(loss.shape)}, and training needs a scalar. "
                "Take its mean over the batch."
            )
        return loss

    def _look(self, done: int) -> None:
        """Reads the losses since the last look; the only wait for the device inside an epoch."""
        self.looked = time.monotonic()
        if not self.losses:
            return
        values = torch.stack(self.losses).tolist()
        first = done - len(values)
        self.losses.clear()
        for offset, value in enumerate(values):
            if value - value != 0:  # NaN or infinite
                epoch, step = divmod(first + offset, self.feed.steps)
                rate = self.train.optimizer
                raise TrainingError(
                    f"TrainingError: the loss is {value} at epoch {epoch + 1}, step {step + 1} of {self.feed.steps}, "
                    f"with {rate!r}. Try a learning rate ten times lower, warmup=0.05 or clip=1.0; if the first step "
                    "already fails, look for NaN in the data or for log(0) in the loss."
                )
        self.bar.set_postfix_str(f"loss {sum(values) / len(values):.4f}", refresh=False)

    def _save(self, done: int) -> None:
        if self.checkpoint is None or not self.accelerator.is_main_process:
            return
        self._look(done)
        told = {"done": done, "scaler": None if self.scaler is None else self.scaler.state_dict()}
        save_progress(self.checkpoint, self.model, self.optimizer, told)
        self.saved = time.monotonic()

    def _resumed(self) -> int:
        if self.checkpoint is None or not self.checkpoint.exists():
            return self.steps.start
        told = load_progress(self.checkpoint, self.model, self.optimizer)
        if self.scaler is not None:
            self.scaler.load_state_dict(told["scaler"])
        done: int = told["done"]
        return done


def _listeners(model: nn.Module) -> list[Callable[[Progress], object]]:
    found = (getattr(module, "after_step", None) for module in model.modules())
    return [method for method in found if callable(method)]
