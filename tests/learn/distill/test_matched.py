"""Distillation of values."""

import dataclasses

import pytest
import torch
from torch import nn

from flyweight.core.errors import FlyweightError, ShapeError
from flyweight.core.recipe import Ensemble
from flyweight.core.serial import from_json, to_json
from flyweight.learn.context import Context
from flyweight.learn.distill.matched import matched
from flyweight.learn.recorded import recorded


def test_the_formula(tiny_task):
    batch = tuple(t[:6] for t in tiny_task.data.train.tensors)
    teachers = [nn.Sequential(nn.Flatten(), nn.Linear(64, 4)) for _ in range(2)]
    task = dataclasses.replace(tiny_task, teacher=Ensemble(teachers))
    student = torch.randn(6, 4)
    mean = (teachers[0](batch[0]) + teachers[1](batch[0])) / 2
    wanted = 0.5 * nn.functional.cross_entropy(student, batch[1]) + 3.0 * ((student - mean) ** 2).mean()
    got = matched(hard=0.5, soft=3.0)(recorded(student), batch, Context(task, torch.arange(6)))
    assert float(got) == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_its_gradient_is_the_limit_of_distillation_at_high_temperature(tiny_task):
    from flyweight.learn.distill.distilled import soft_cross_entropy

    teacher = torch.randn(6, 1, 4)
    teacher -= teacher.mean(2, keepdim=True)
    student = torch.randn(6, 4, requires_grad=True)
    centred = student - student.mean(1, keepdim=True)
    (soft,) = torch.autograd.grad(soft_cross_entropy(student, teacher, 1000.0), student)
    (values,) = torch.autograd.grad(nn.functional.mse_loss(centred, teacher.squeeze(1)) / 2 * 1.0, student)
    torch.testing.assert_close(soft, values * 1.0, rtol=0.02, atol=1e-4)


def test_shapes_and_fields_are_checked(tiny_task):
    batch = tuple(t[:6] for t in tiny_task.data.train.tensors)
    task = dataclasses.replace(tiny_task, teacher=lambda x: torch.zeros(6, 3))
    with pytest.raises(ShapeError, match=r"matched can't compare the student's output \(6, 4\)"):
        matched()(recorded(torch.zeros(6, 4)), batch, Context(task, torch.arange(6), augmented=True))
    with pytest.raises(FlyweightError, match="matched got hard=0, soft=0"):
        matched(hard=0, soft=0)
    assert from_json(to_json(matched(0.5))) == matched(0.5)
