"""The chain in which pruning pays: trained, pruned, taken out, trained on, quantized."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.evidence import Score
from flyweight.compress.prune.pool import Distribution, Structure
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.answer import answer
from flyweight.core.errors import FlyweightError, ShapeError
from flyweight.core.step import Recipe
from flyweight.core.task import Task
from flyweight.learn.train import Train
from flyweight.search.candidate import plain, seeded
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.pruning import leaves, pruning
from flyweight.search.structure_name import structure_name
from flyweight.search.taught import taught
from flyweight.surgery.device import on_device
from flyweight.surgery.modes import evaluated

_CHANNELS = channel(round_to=8)

STRUCTURES: Mapping[str, Structure | kernel_blocks] = {
    "channels": _CHANNELS,
    "blocks": kernel_blocks(),
    "weights": element(),
}
"""What the command line's ``--structure`` names: channels leave the model; of the others zeros stay, which the sparse
kernels skip: of blocks in float and in int8, of single weights in float alone."""

_SLOWER = 0.5
"""Fine-tuning's rate, in that of the baseline; that of the training with rounding is a tenth, as in the survey."""

_ROUNDED, _ROUNDED_RATE = 0.125, 0.1


@dataclass(frozen=True)
class chain:
    """``chain()(ratio, task)``: the recipe that prunes ``task``'s baseline by ``ratio`` and makes a small file of it.

    The baseline's own training comes first, so all ratios share it; then the fraction ``ratio`` of what ``structure``
    takes away goes: channels, heads and layers at once, by Taylor's score, and they leave the model; blocks and single
    weights become zeros by magnitude, in the training that follows (:func:`~flyweight.search.pruning.pruning`). Of
    :class:`~flyweight.search.kernel_blocks.kernel_blocks` those go that the sparse kernels skip in weights of ``bits``,
    others in int8 than in float. ``score`` decides instead where it is given.

    That training is the task's ``tune``, or where it has none ``tuning`` of the baseline's epochs at half its rate. It
    is distilled from the baseline, unless it has a loss of its own, or the model returns no tensor that answers
    (:func:`~flyweight.core.answer.answer`). Where ``bits`` says so, a short training with rounding follows. A task
    whose model is trained already (``train`` None) and that has no ``tune`` is pruned and quantized without training,
    and labels say so. At ratio 0 nothing is pruned. ``seed`` is added to that of the trainings.

    Channels stay in multiples of 8, for runtimes compute in blocks: with 18 channels where there were 32, a layer may
    take longer than with all 32 (survey_cnn(0.5), ONNX Runtime: 0.198 ms at 43.8 % removed, 0.075 ms at 50 %).
    """

    structure: Structure | kernel_blocks = _CHANNELS
    score: Score | None = None
    distribution: Distribution = uniform()  # noqa: RUF009
    tuning: float = 0.5
    bits: int | None = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.tuning >= 0:
            raise FlyweightError(
                f"FlyweightError: chain got tuning={self.tuning!r}. Give the part of the baseline's epochs that "
                "follows pruning, as in tuning=0.5; 0 for none."
            )

    def __call__(self, ratio: float, task: Task) -> Recipe:
        base = plain(task, self.seed).recipe
        train, tune = self._trainings(task)
        pruned = base
        if ratio:
            pruned += pruning(ratio, self._structure(), self._score(), self.distribution, trained=tune is not None)
        source = train or tune
        if source is None:
            return pruned if self.bits is None else (*pruned, Quantize(bits=self.bits))
        loss = taught(task, (base,), temperature=4.0, soft=1.0) if _answers(task) else source.loss
        if ratio and tune is not None:
            pruned = (*pruned, dataclasses.replace(tune, loss=tune.loss or loss))
        if self.bits is None:
            return pruned
        rounded = _again(source, _ROUNDED, _ROUNDED_RATE, loss if ratio else source.loss)
        return (*pruned, Quantize(bits=self.bits, aware=Aware()), rounded)

    def label(self, ratio: float, task: Task) -> str:
        """What people call it: ``channels −50 %, int8``, with the score where one was given, and what is not tuned."""
        score = "" if self.score is None else f" ({type(self.score).__name__})"
        what = f"{structure_name(self._structure())} −{100 * ratio:.3g} %{score}" if ratio else "unpruned"
        told = what if self.bits is None else f"{what}, int{self.bits}"
        return f"{told}, not tuned" if ratio and self._trainings(task)[1] is None else told

    def _trainings(self, task: Task) -> tuple[Train | None, Train | None]:
        """The baseline's training, and that which follows pruning; None for each that there is not."""
        train, tune = (None if step is None else seeded(step, self.seed) for step in (task.train, task.tune))
        learnt = train if isinstance(train, Train) else None
        if not self.tuning:
            return learnt, None
        if isinstance(tune, Train):
            return learnt, tune
        return learnt, None if learnt is None else _again(learnt, self.tuning, _SLOWER, None)

    def _score(self) -> Score:
        if self.score is not None:
            return self.score
        return taylor() if leaves(self._structure()) else magnitude()

    def _structure(self) -> Structure:
        """What is taken away of weights that are stored in ``bits``."""
        return self.structure(self.bits) if isinstance(self.structure, kernel_blocks) else self.structure


def _answers(task: Task) -> bool:
    """Whether the model returns a tensor by which a student can be compared with it."""
    with torch.no_grad(), evaluated(task.model) as model:
        outputs = model(*on_device(task.example, model))
    try:
        answer(outputs)
    except ShapeError:
        return False
    return True


def _again(train: Train, part: float, rate: float, loss: Any) -> Train:
    """``train`` for a ``part`` of its epochs, at ``rate`` times its rate where the optimizer tells one."""
    optimizer: Any = train.optimizer
    if getattr(optimizer, "lr", None) is not None:
        optimizer = dataclasses.replace(optimizer, lr=rate * optimizer.lr)
    return dataclasses.replace(train, epochs=max(1, round(part * train.epochs)), optimizer=optimizer, loss=loss)
