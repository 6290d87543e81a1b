"""The survey's two strategies: Shrink-and-Improve, and Grow-Improve-and-Shrink."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.quantize.ranges.kl import kl
from flyweight.compress.quantize.ranges.minmax import minmax
from flyweight.compress.quantize.ranges.mse import mse
from flyweight.compress.quantize.ranges.percentile import percentile
from flyweight.core.step import Recipe, Step
from flyweight.core.task import Task
from flyweight.learn.train import Train
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate, Terms, plain, seeded
from flyweight.search.taught import taught

WIDTHS = (0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 1.4)

_NARROW = 0.5
"""Up to this width the survey's networks learn at the higher rate."""

_HEAVY = 0.25
"""From this width on half the bits of the weights are nearly half the bytes of the file."""


@dataclass(frozen=True)
class survey:
    """The experiment of the survey's section 4 as a strategy, every arm under the schedule of ``task.train``.

    *Shrink-and-Improve*: the task's family at ``widths`` below 1, improved by the task's augmentations and by
    distillation from two teachers, the baseline and the grown network, in float and in int8.
    *Grow-Improve-and-Shrink*: the largest of ``widths``, improved, is that grown network; it is shrunk by int8, and by
    distillation into width 1. Beside them the plain baseline in int8. Widths up to 0.5 learn at ``hurry`` times the
    task's rate, as in the survey (5e-3 against 1e-3): a narrow network needs it, a wide one suffers. They learn from
    their teachers without augmentation, which has little left to give to a network that underfits, while the teachers
    need be asked but once (on the full Fashion-MNIST, 50 epochs, width 0.1: 92.37 distilled, 92.40 augmented too; at
    width 0.25 it would bring 0.5 points at twice the time).
    Int8 is trained with its rounding (``Quantize`` aware, then ``tuning`` of the baseline's epochs at a tenth of its
    rate) from the float model, so both share one training. From width 0.25 on, where the weights outweigh the graph,
    students come with 4-bit weights too, trained alike. Candidates come most telling first, so that a search which is
    stopped early has something to show.

    A task without a family keeps its width: augmentation, self-distillation (Furlanello et al. 2018, arXiv 1805.04770),
    int8 after training by several range rules, and aware. A task whose model is trained already (``train`` None) is
    only quantized.

    ``temperature`` and ``soft`` are the distillation's, eq. 4 and λ₂ of eq. 5. Source: Menghani 2023, arXiv 2106.08962.
    """

    widths: tuple[float, ...] = WIDTHS
    temperature: float = 4.0
    soft: float = 1.0
    tuning: float = 0.125
    hurry: float = 4.0
    seed: int = 0

    def __call__(self, task: Task, terms: Terms | None = None) -> Iterator[Candidate]:
        """The candidates for ``task``, the most telling first."""
        base = plain(task, self.seed)
        train = seeded(task.train, self.seed) if task.train is not None else None
        if not isinstance(train, Train):
            # A step of the user's own has no loss or epochs that we could set: what remains needs no training.
            yield from self._afterwards(task, "baseline", base.recipe)
            return
        yield self._after(base.label, base.recipe)
        if task.family is None:
            yield from self._improve(task, train, base.recipe)
        else:
            yield from self._resize(task, train, base.recipe)

    def _resize(self, task: Task, train: Train, base: Recipe) -> Iterator[Candidate]:
        grown = max(self.widths)
        large = self._paced(train, grown)
        teacher: Recipe = (Resize(grown, seed=self.seed), self._learnt(large, task, None))
        order = _telling([w for w in self.widths if w != grown])
        if order:
            yield from self._twins(order[0], (base, teacher), train, task)
        yield Candidate(label=f"width {grown:g} improved", recipe=teacher)
        yield self._aware(f"width {grown:g} improved", teacher, large, train.loss, task)
        yield self._aware("baseline", base, train, train.loss, task, plainly=True)
        for width in order[1:]:
            yield from self._twins(width, (base, teacher), train, task)

    def _twins(self, width: float, teachers: tuple[Recipe, ...], train: Train, task: Task) -> Iterator[Candidate]:
        loss = taught(task, teachers, self.temperature, self.soft)
        paced, plainly = self._paced(train, width), width <= _NARROW
        learnt = dataclasses.replace(paced, loss=loss) if plainly else self._learnt(paced, task, loss)
        recipe = (Resize(width, seed=self.seed), learnt)
        yield self._aware(f"width {width:g} distilled", recipe, paced, loss, task, plainly=plainly)
        yield Candidate(label=f"width {width:g} distilled", recipe=recipe)
        if width >= _HEAVY:
            yield self._aware(f"width {width:g} distilled", recipe, paced, loss, task, plainly=plainly, bits=4)

    def _paced(self, train: Train, width: float) -> Train:
        return train if width > _NARROW else dataclasses.replace(train, optimizer=_rated(train.optimizer, self.hurry))

    def _improve(self, task: Task, train: Train, base: Recipe) -> Iterator[Candidate]:
        yield self._aware("baseline", base, train, train.loss, task, plainly=True)
        teacher: Recipe = (self._learnt(train, task, None),) if task.augment else base
        teachers = (base, teacher) if task.augment else (base,)
        if task.augment:
            yield self._aware("augmented", teacher, train, train.loss, task)
            yield Candidate(label="augmented", recipe=teacher)
        loss = taught(task, teachers, self.temperature, self.soft)
        recipe = (self._learnt(train, task, loss),)
        yield self._aware("self-distilled", recipe, train, loss, task)
        yield Candidate(label="self-distilled", recipe=recipe)
        # A generator of our own: whoever asks sends each result back, and islice takes none.
        yield from (one for one in itertools.islice(self._afterwards(task, "baseline", base), 1, None))
        yield from self._afterwards(task, "self-distilled", recipe)

    def _afterwards(self, task: Task, label: str, recipe: Recipe) -> Iterator[Candidate]:
        yield self._after(label, recipe)
        for rule in (percentile(), mse(), kl()):
            step = Quantize(bits=8, ranges=rule)
            yield Candidate(label=f"{label} int8, {type(rule).__name__} ranges", recipe=(*recipe, step))
        yield Candidate(label=f"{label} int8 weights", recipe=(*recipe, Quantize(bits=8, activations=None)))

    def _after(self, label: str, recipe: Recipe) -> Candidate:
        return Candidate(label=f"{label} int8", recipe=(*recipe, Quantize(bits=8, ranges=minmax())))

    def _aware(
        self,
        label: str,
        recipe: Recipe,
        train: Train,
        loss: Any,
        task: Task,
        *,
        plainly: bool = False,
        bits: int = 8,
    ) -> Candidate:
        epochs = max(1, round(self.tuning * train.epochs))
        tuned = dataclasses.replace(
            train,
            epochs=epochs,
            optimizer=_rated(train.optimizer, 0.1),
            loss=loss,
            augment=train.augment if plainly else task.augment,
        )
        kind = "int8" if bits == 8 else f"{bits}-bit weights"
        return Candidate(label=f"{label} {kind} aware", recipe=(*recipe, Quantize(bits=bits, aware=Aware()), tuned))

    def _learnt(self, train: Train, task: Task, loss: Any) -> Step:
        return dataclasses.replace(train, augment=task.augment, loss=train.loss if loss is None else loss)


def _telling(widths: list[float]) -> list[float]:
    """The middle first, then the ends, then what lies between: each new width says the most about the curve.

    >>> _telling([0.1, 0.25, 0.5, 0.75, 1.0])
    [0.5, 1.0, 0.1, 0.75, 0.25]
    """
    left, order = sorted(widths), []
    if left:
        order.append(left.pop(len(left) // 2))
    while left:
        farthest = max(left, key=lambda w: (min(abs(math.log(w / o)) for o in order), w))
        left.remove(farthest)
        order.append(farthest)
    return order


def _rated(optimizer: Any, factor: float) -> Any:
    """``optimizer`` at ``factor`` times its rate; one of the user's own that tells no rate stays as it is."""
    rate = getattr(optimizer, "lr", None)
    return optimizer if rate is None else dataclasses.replace(optimizer, lr=rate * factor)
