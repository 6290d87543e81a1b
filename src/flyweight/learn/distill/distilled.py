"""Distillation of a classifier: the student learns the labels and the teachers' softened probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.core.answer import answer
from flyweight.core.errors import FlyweightError, ShapeError
from flyweight.core.step import Recipe
from flyweight.core.task import Batch, Forward
from flyweight.learn.context import Context
from flyweight.learn.distill.lessons import lessons
from flyweight.learn.recorded import recorded


@dataclass(frozen=True)
class distilled:
    """An objective for classification by distillation.

    ``L = hard · task.loss + soft · T² · CE(p, softmax(z_s / T))`` with ``p = mean over teachers of softmax(z_t / T)``,
    ``T`` the ``temperature``, and the cross-entropy in nats, a mean over examples (and places, for outputs
    ``(N, classes, …)``). The factor ``T²`` keeps the soft gradient's size as ``T`` changes. The teachers see the very
    inputs that the student sees. Of outputs that are no tensor, z is the :func:`~flyweight.core.answer.answer`, such as
    ``logits``. ``teachers`` are recipes that ``run`` makes first; without them the task's teacher teaches. ``cache``
    keeps the teachers' outputs where inputs are not augmented. With ``soft=0`` no teacher is needed and this is the
    task's loss; with ``hard=0`` labels are not looked at.
    Raises :class:`TaskError` without a teacher, :class:`ShapeError` where outputs cannot be compared.
    Source: Hinton, Vinyals and Dean, 2015, arXiv:1503.02531; Menghani, 2021, arXiv:2106.08962, eqs. 4 and 5.
    """

    temperature: float = 4.0
    hard: float = 1.0
    soft: float = 1.0
    teachers: tuple[Recipe, ...] = ()
    cache: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "teachers", as_recipes("distilled", self.teachers))
        if not 0 < self.temperature < float("inf"):
            raise FlyweightError(
                f"FlyweightError: distilled got temperature={self.temperature!r}. "
                "Give a number above 0; 2 to 20 are usual."
            )
        check_weights("distilled", self.hard, self.soft)

    def __call__(self, forward: Forward, batch: Batch, context: Context) -> Tensor:
        inputs = context.task.inputs(batch)
        output = forward(*inputs)
        if not self.soft:
            return self.hard * context.task.loss(recorded(output), batch)
        said = lessons(context, inputs, self.cache)
        loss = self.soft * soft_cross_entropy(compared("distilled", output, said), said, self.temperature)
        return loss + self.hard * context.task.loss(recorded(output), batch) if self.hard else loss


def soft_cross_entropy(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """``T² · CE(mean_k softmax(z_k / T), softmax(z / T))``, z ``(N, classes, …)``, z_k ``(N, k, classes, …)``."""
    if student.ndim < 2:
        raise ShapeError(
            f"ShapeError: distilled got outputs of shape {tuple(student.shape)}, and needs logits (N, classes, …). "
            "For other outputs use matched(), which compares values."
        )
    target = torch.softmax(teachers / temperature, dim=2).mean(dim=1)
    logs = torch.log_softmax(student.float() / temperature, dim=1)
    return -(target * logs).sum(dim=1).mean() * temperature**2


def compared(name: str, output: object, teachers: Tensor) -> Tensor:
    """The student's answer; raises :class:`ShapeError` unless it has the shape of each teacher's."""
    student = answer(output, "the student")
    if (student.shape[0], *student.shape[1:]) != (teachers.shape[0], *teachers.shape[2:]):
        raise ShapeError(
            f"ShapeError: {name} can't compare the student's output {tuple(student.shape)} with a teacher's "
            f"{(teachers.shape[0], *teachers.shape[2:])}. Give a teacher of the same task; several belong in a "
            "core.recipe.Ensemble."
        )
    return student


def check_weights(name: str, hard: float, soft: float) -> None:
    """Raises :class:`FlyweightError` for weights that are negative, or leave no loss."""
    if not (0 <= hard < float("inf") and 0 <= soft < float("inf")) or hard + soft == 0:
        raise FlyweightError(
            f"FlyweightError: {name} got hard={hard!r}, soft={soft!r}. Give 0 or more, and one above 0."
        )


def as_recipes(name: str, teachers: object) -> tuple[Recipe, ...]:
    """``teachers`` as a tuple of tuples; raises :class:`FlyweightError` for a recipe that was not put in a tuple."""
    if not isinstance(teachers, tuple | list) or not all(isinstance(recipe, tuple | list) for recipe in teachers):
        raise FlyweightError(
            f"FlyweightError: {name} got teachers={teachers!r}, which is no tuple of recipes. A recipe is itself "
            f"a tuple: one teacher is {name}(teachers=((Train(epochs=5),),))."
        )
    return tuple(tuple(recipe) for recipe in teachers)
