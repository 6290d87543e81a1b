"""The space of the free search, defined as it runs: a trial's choices decide which choices follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flyweight.compress.prune.evidence import Score
from flyweight.compress.prune.pool import Structure
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.quantize.ranges.kl import kl
from flyweight.compress.quantize.ranges.minmax import minmax
from flyweight.compress.quantize.ranges.mse import mse
from flyweight.compress.quantize.ranges.percentile import percentile
from flyweight.core.step import Recipe, Step
from flyweight.core.task import Task
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.train import Train
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate, plain, seeded
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.pruning import pruning
from flyweight.search.structure_name import structure_name
from flyweight.search.taught import taught

_RULES = {"minmax": minmax, "percentile": percentile, "mse": mse, "kl": kl}
_STRUCTURES: Mapping[str, Structure | kernel_blocks] = {
    "channels": channel(),
    "weights": element(),
    "blocks": kernel_blocks(),
}
_SCORES: Mapping[str, Score] = {"magnitude": magnitude(), "taylor": taylor()}
_COMPUTED_IN_INTEGERS = ("int8", "int8 aware")
_QUARTERS = 4
"""Epochs are drawn in quarters of the baseline's, widths in percent: trials that are nearly equal become equal."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Recipes for ``task`` by an Optuna trial: the survey's steps in any setting.

    Of a task with a family: the width, from ``widths`` on a log scale. Of a task that can be trained: epochs (as a part
    of the baseline's, up to ``longest``), rate, distillation with its temperature and λ, mixup, and which of the task's
    augmentations; then, up to the fraction ``pruned``, which weights, blocks or channels leave it, by which score, and
    the training that follows. Of every task: float, int8 after training with a range rule, int8 weights, or int8 aware.
    Of integers other blocks go than of floats (:class:`~flyweight.search.kernel_blocks.kernel_blocks`).
    """

    widths: tuple[float, float] = (0.05, 1.4)
    longest: float = 2.0
    pruned: float = 0.9
    seed: int = 0

    def __call__(self, trial: Any, task: Task) -> Candidate:
        """The recipe that ``trial`` chooses."""
        train = seeded(task.train, self.seed) if task.train is not None else None
        modes = ["float", "int8", "int8 weights", *(["int8 aware"] if isinstance(train, Train) else [])]
        mode = trial.suggest_categorical("quantization", modes)
        if not isinstance(train, Train):
            recipe, aware = plain(task, self.seed).recipe, None
        else:
            recipe, aware = self._trained(trial, task, train, mode)
        recipe = (*recipe, *_quantized(trial, mode, aware))
        chosen = [text for step in recipe if (text := _told(step))]
        return Candidate(label=", ".join((f"trial {trial.number}", *chosen, mode)), recipe=recipe)

    def _trained(self, trial: Any, task: Task, train: Train, mode: str) -> tuple[Recipe, Train]:
        resized: tuple[Step, ...] = ()
        if task.family is not None:
            width = round(trial.suggest_float("width", *self.widths, log=True), 2)
            resized = (Resize(width, seed=self.seed),)
        quarters = trial.suggest_int("epoch_quarters", 1, round(_QUARTERS * self.longest))
        chosen = tuple(
            a for i, a in enumerate(task.augment) if trial.suggest_categorical(f"augment_{i}", [True, False])
        )
        step = dataclasses.replace(
            train,
            epochs=max(1, round(train.epochs * quarters / _QUARTERS)),
            optimizer=_paced(trial, train.optimizer),
            loss=self._loss(trial, task, train),
            augment=chosen,
        )
        return (*resized, step, *self._pruned(trial, step, mode)), step

    def _pruned(self, trial: Any, train: Train, mode: str) -> Recipe:
        if not self.pruned or not trial.suggest_categorical("pruned", [False, True]):
            return ()
        structure = _STRUCTURES[trial.suggest_categorical("structure", sorted(_STRUCTURES))]
        if isinstance(structure, kernel_blocks):
            structure = structure(8 if mode in _COMPUTED_IN_INTEGERS else None)
        ratio = round(trial.suggest_float("ratio", min(0.1, self.pruned), self.pruned), 2)
        score = _SCORES[trial.suggest_categorical("score", sorted(_SCORES))]
        tuning = trial.suggest_categorical("tuning", [0.25, 0.5, 1.0])
        again = dataclasses.replace(train, epochs=max(1, round(tuning * train.epochs)))
        return (*pruning(ratio, structure, score), again)

    def _loss(self, trial: Any, task: Task, train: Train) -> Any:
        loss = train.loss
        if trial.suggest_categorical("distilled", [True, False]):
            temperature = round(trial.suggest_float("temperature", 1.0, 10.0, log=True), 1)
            soft = round(trial.suggest_float("soft", 0.2, 3.0, log=True), 2)
            loss = taught(task, (self._teacher(task, train),), temperature, soft)
        # Whole numbers, such as token ids, have no mean.
        if task.example[0].is_floating_point() and trial.suggest_categorical("mixup", [False, True]):
            loss = mixed(alpha=round(trial.suggest_float("mixup_alpha", 0.1, 1.0), 1), inner=loss)
        return loss

    def _teacher(self, task: Task, train: Train) -> Recipe:
        # One teacher for all trials: the largest of the family, improved; it is trained once.
        improved = dataclasses.replace(train, augment=task.augment)
        return (improved,) if task.family is None else (Resize(max(self.widths), seed=self.seed), improved)


def _told(step: Step) -> str | None:
    if isinstance(step, Prune):
        return f"{structure_name(step.structure)} −{100 * step.ratio:.3g} %"
    return f"width {step.width:g}" if isinstance(step, Resize) else None


def _quantized(trial: Any, mode: str, train: Train | None) -> tuple[Step, ...]:
    if mode == "float":
        return ()
    if mode == "int8 weights":
        return (Quantize(bits=8, activations=None),)
    if mode == "int8":
        return (Quantize(bits=8, ranges=_RULES[trial.suggest_categorical("ranges", sorted(_RULES))]()),)
    assert train is not None
    optimizer: Any = train.optimizer
    if hasattr(optimizer, "lr"):
        optimizer = dataclasses.replace(optimizer, lr=0.1 * optimizer.lr)
    return Quantize(bits=8, aware=Aware()), dataclasses.replace(
        train, epochs=max(1, train.epochs // 4), optimizer=optimizer
    )


def _paced(trial: Any, optimizer: Any) -> Any:
    rate = getattr(optimizer, "lr", None)
    if rate is None:
        return optimizer
    factor = trial.suggest_float("rate", 0.1, 10.0, log=True)
    return dataclasses.replace(optimizer, lr=float(f"{rate * factor:.2g}"))
