"""The chain in which pruning pays: trained, pruned, taken out, trained on, quantized."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.evidence import Score
from flyweight.compress.prune.pool import Distribution, Structure
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import FlyweightError
from flyweight.core.step import Recipe
from flyweight.core.task import Task
from flyweight.learn.train import Train
from flyweight.search.candidate import plain, seeded
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.pruning import leaves, pruning
from flyweight.search.structure_name import structure_name
from flyweight.search.taught import taught

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

    That training is ``tuning`` of the baseline's epochs at half its rate, distilled from the baseline; where ``bits``
    says so, a short training with rounding follows. A task whose model is trained already (``train`` None) is pruned
    and quantized without training. At ratio 0 nothing is pruned. ``seed`` is added to that of the training.

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
        train = seeded(task.train, self.seed) if task.train is not None else None
        pruned = base
        if ratio:
            tuned = isinstance(train, Train) and bool(self.tuning)
            pruned += pruning(ratio, self._structure(), self._score(), self.distribution, trained=tuned)
        if not isinstance(train, Train):
            return pruned if self.bits is None else (*pruned, Quantize(bits=self.bits))
        loss = taught(task, (base,), temperature=4.0, soft=1.0)
        if ratio and self.tuning:
            pruned = (*pruned, _again(train, self.tuning, _SLOWER, loss))
        if self.bits is None:
            return pruned
        rounded = _again(train, _ROUNDED, _ROUNDED_RATE, loss if ratio else train.loss)
        return (*pruned, Quantize(bits=self.bits, aware=Aware()), rounded)

    def label(self, ratio: float) -> str:
        """What people call it: ``channels −50 %, int8``, with the score where one was given."""
        score = "" if self.score is None else f" ({type(self.score).__name__})"
        what = f"{structure_name(self._structure())} −{100 * ratio:.3g} %{score}" if ratio else "unpruned"
        return what if self.bits is None else f"{what}, int{self.bits}"

    def _score(self) -> Score:
        if self.score is not None:
            return self.score
        return taylor() if leaves(self._structure()) else magnitude()

    def _structure(self) -> Structure:
        """What is taken away of weights that are stored in ``bits``."""
        return self.structure(self.bits) if isinstance(self.structure, kernel_blocks) else self.structure


def _again(train: Train, part: float, rate: float, loss: Any) -> Train:
    """``train`` for a ``part`` of its epochs, at ``rate`` times its rate where the optimizer tells one."""
    optimizer: Any = train.optimizer
    if getattr(optimizer, "lr", None) is not None:
        optimizer = dataclasses.replace(optimizer, lr=rate * optimizer.lr)
    return dataclasses.replace(train, epochs=max(1, round(part * train.epochs)), optimizer=optimizer, loss=loss)
