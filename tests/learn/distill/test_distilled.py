"""Distillation against its formula, written out in scipy."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from torch import nn

from flyweight.core.errors import FlyweightError, ShapeError, TaskError
from flyweight.core.recipe import Ensemble, run
from flyweight.learn.context import Context
from flyweight.learn.distill.distilled import distilled, soft_cross_entropy
from flyweight.learn.distill.matched import matched
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam
from flyweight.learn.recorded import recorded
from flyweight.learn.train import Train

FLOAT = Fit(precision="no")


def by_hand(student, teachers, temperature):
    target = np.mean([softmax(z / temperature, axis=1) for z in teachers], axis=0)
    return -(target * log_softmax(student / temperature, axis=1)).sum(1).mean() * temperature**2


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.floats(0.5, 20))
def test_the_formula(seed, count, temperature):
    generator = np.random.default_rng(seed)
    student = generator.normal(0, 3, (6, 5)).astype(np.float32)
    teachers = generator.normal(0, 3, (count, 6, 5)).astype(np.float32)
    got = soft_cross_entropy(torch.tensor(student), torch.tensor(teachers).movedim(0, 1), temperature)
    assert float(got) == pytest.approx(by_hand(student, teachers, temperature), rel=1e-4)


def test_the_soft_gradient_keeps_its_size_as_the_temperature_grows():
    student, teacher = torch.randn(8, 5, requires_grad=True), torch.randn(8, 1, 5)
    sizes = []
    for temperature in (10.0, 100.0):
        (gradient,) = torch.autograd.grad(soft_cross_entropy(student, teacher, temperature), student)
        sizes.append(float(gradient.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def context_of(task, teacher, augmented=True):
    return Context(dataclasses.replace(task, teacher=teacher), torch.arange(6), augmented)


def batch_of(task):
    return tuple(t[:6] for t in task.data.train.tensors)


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_whole_loss(tiny_task, ensemble):
    batch, teachers = batch_of(tiny_task), [nn.Sequential(nn.Flatten(), nn.Linear(64, 4)) for _ in range(3)]
    teacher = Ensemble(teachers) if ensemble else teachers[0]
    student = torch.randn(6, 4)
    said = [t(batch[0]).detach().numpy() for t in (teachers if ensemble else teachers[:1])]
    hard = nn.functional.cross_entropy(student, batch[1])
    objective = distilled(temperature=3.0, hard=0.25, soft=2.0)
    got = objective(recorded(student), batch, context_of(tiny_task, teacher))
    assert float(got) == pytest.approx(0.25 * float(hard) + 2.0 * by_hand(student.numpy(), said, 3.0), rel=1e-5)


def test_the_student_runs_once_and_gets_the_only_gradient(tiny_task):
    calls, teacher = [], nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    def forward(x):
        calls.append(1)
        return student(x)

    distilled()(forward, batch_of(tiny_task), context_of(tiny_task, teacher)).backward()
    assert len(calls) == 1
    assert student[1].weight.grad is not None
    assert teacher[1].weight.grad is None
    assert not teacher.training


def same(one, other):
    return all(value.equal(other.state_dict()[name]) for name, value in one.state_dict().items())


def test_without_the_soft_part_it_is_plain_training(fresh_task):
    task = dataclasses.replace(fresh_task, fit=FLOAT)
    plain, soft = (Train(epochs=1, loss=loss)(task.model, task) for loss in (None, distilled(soft=0.0)))
    assert same(plain, soft)


def test_without_the_hard_part_labels_are_not_looked_at(fresh_task):
    def forbidden(forward, batch):
        raise AssertionError("the labels were looked at")

    task = dataclasses.replace(fresh_task, fit=FLOAT, loss=forbidden, teacher=copy.deepcopy(fresh_task.model).eval())
    Train(epochs=1, loss=distilled(hard=0.0))(task.model, task)


def test_a_student_comes_near_its_teacher(tiny_task):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    student = tiny_task.family(1.0)
    before = copy.deepcopy(student)
    train = Train(epochs=12, optimizer=adam(lr=5e-3), loss=distilled(hard=0.0), batch_size=64)
    x = task.data.select.tensors[0]

    def agreement(model):
        return float((model.eval()(x).argmax(1) == tiny_task.model(x).argmax(1)).float().mean())

    after = train(student, dataclasses.replace(task, teacher=tiny_task.model))
    assert agreement(after) > max(0.7, agreement(before) + 0.2)


def test_recipes_teach(fresh_task):
    task = dataclasses.replace(fresh_task, fit=FLOAT)
    recipes = tuple((Train(epochs=1, seed=seed),) for seed in (1, 2))
    taught = run([Train(epochs=1, loss=distilled(teachers=recipes))], task.model, task)
    teachers = Ensemble([run(recipe, task.model, task) for recipe in recipes])
    by_name = run([Train(epochs=1, loss=distilled())], task.model, dataclasses.replace(task, teacher=teachers))
    assert same(taught, by_name)


def test_no_teacher_is_said(tiny_task):
    with pytest.raises(TaskError, match=r"needs a teacher, and the task has none. Name one: distilled\(teachers="):
        Train(epochs=1, loss=distilled())(tiny_task.model, tiny_task)


def test_outputs_that_cannot_be_compared(tiny_task):
    batch = batch_of(tiny_task)
    with pytest.raises(ShapeError, match=r"student's output \(6, 4\) with a teacher's \(6, 7\).*same task"):
        distilled()(recorded(torch.zeros(6, 4)), batch, context_of(tiny_task, lambda x: torch.zeros(6, 7)))
    with pytest.raises(ShapeError, match="the teacher returns a tuple.*Wrap it"):
        distilled()(recorded(torch.zeros(6, 4)), batch, context_of(tiny_task, lambda x: 2 * (torch.zeros(6, 4),)))
    with pytest.raises(ShapeError, match="the student returns a dict"):
        distilled(hard=0.0)(recorded({}), batch, context_of(tiny_task, lambda x: torch.zeros(6, 4)))
    with pytest.raises(ShapeError, match=r"shape \(6,\), and needs logits.*matched\(\)"):
        distilled(hard=0.0)(recorded(torch.zeros(6)), batch, context_of(tiny_task, lambda x: torch.zeros(6)))


@pytest.mark.parametrize("objective", [distilled(hard=0.0), matched(hard=0.0)], ids=["distilled", "matched"])
def test_of_outputs_under_names_the_logits_are_compared(objective, tiny_task):
    batch, student, teacher = batch_of(tiny_task), torch.randn(6, 4), torch.randn(6, 4)
    plain = objective(recorded(student), batch, context_of(tiny_task, lambda x: teacher))
    named = objective(
        recorded({"states": torch.randn(6, 9), "logits": student}), batch, context_of(tiny_task, lambda x: (teacher,))
    )
    assert torch.equal(plain, named)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"temperature": 0.0}, "distilled got temperature=0.0. Give a number above 0"),
        ({"hard": -1.0}, "distilled got hard=-1.0, soft=1.0. Give 0 or more, and one above 0"),
        ({"hard": 0.0, "soft": 0.0}, "hard=0.0, soft=0.0"),
        ({"teachers": (Train(epochs=1),)}, r"which is no tuple of recipes.*teachers=\(\(Train\(epochs=5\),\),\)"),
    ],
)
def test_fields_are_checked(fields, text):
    with pytest.raises(FlyweightError, match=text):
        distilled(**fields)
