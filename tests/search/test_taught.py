"""Which distillation a task's targets ask for."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import arms
from flyweight.core.task import Task
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.distill.matched import matched
from flyweight.search.taught import taught


@pytest.mark.parametrize(
    ("target", "kind"), [(3, distilled), (torch.tensor(3), distilled), (0.5, matched), (torch.tensor(0.5), matched)]
)
def test_classes_and_values_as_plain_numbers_too(fresh_task: Task, target: object, kind: type) -> None:
    data = dataclasses.replace(fresh_task.data, train=arms.Loaded([(torch.zeros(1, 8, 8), target)] * 2))
    assert isinstance(taught(dataclasses.replace(fresh_task, data=data), ((),), 4.0, 1.0), kind)
