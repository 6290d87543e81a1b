"""Which distillation fits a task: that of a classifier, or that of any other output."""

from __future__ import annotations

from typing import Any

import torch

from flyweight.core.step import Recipe
from flyweight.core.task import Task
from flyweight.learn.context import Objective
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.distill.matched import matched


def taught(task: Task, teachers: tuple[Recipe, ...], temperature: float, soft: float) -> Objective:
    """The objective by which a student of ``task`` learns from the results of ``teachers`` besides the labels.

    Whole numbers as targets are classes: softened probabilities (:class:`distilled`, eqs. 4 and 5 of the survey).
    Anything else is compared by value (:class:`matched`), where a temperature has no meaning.
    """
    data: Any = task.data.train
    targets = task.targets(tuple(data[0]))
    if targets and not torch.as_tensor(targets[-1]).is_floating_point():
        return distilled(temperature=temperature, hard=1.0, soft=soft, teachers=teachers)
    return matched(hard=1.0, soft=soft, teachers=teachers)
