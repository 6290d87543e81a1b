"""Distillation of a regressor: the student learns the targets and the teachers' mean output."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from flyweight.core.step import Recipe
from flyweight.core.task import Batch, Forward
from flyweight.learn.context import Context
from flyweight.learn.distill.distilled import as_recipes, check_weights, compared
from flyweight.learn.distill.lessons import lessons
from flyweight.learn.recorded import recorded


@dataclass(frozen=True)
class matched:
    """An objective for any output, by distillation of the values of its tensor (``core.answer``).

    ``L = hard · task.loss + soft · mean((z_s − mean over teachers of z_t)²)``. On logits this is the limit of
    ``distilled`` at high temperature, but for a constant. ``teachers`` and ``cache`` as in ``distilled``.
    Raises :class:`TaskError` without a teacher, :class:`ShapeError` where outputs cannot be compared.
    Source: Ba and Caruana, 2014, arXiv:1312.6184, eq. 1.
    """

    hard: float = 1.0
    soft: float = 1.0
    teachers: tuple[Recipe, ...] = ()
    cache: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "teachers", as_recipes("matched", self.teachers))
        check_weights("matched", self.hard, self.soft)

    def __call__(self, forward: Forward, batch: Batch, context: Context) -> Tensor:
        inputs = context.task.inputs(batch)
        output = forward(*inputs)
        if not self.soft:
            return self.hard * context.task.loss(recorded(output), batch)
        said = lessons(context, inputs, self.cache)
        student = compared("matched", output, said)
        loss = self.soft * nn.functional.mse_loss(student.float(), said.mean(dim=1))
        return loss + self.hard * context.task.loss(recorded(output), batch) if self.hard else loss
