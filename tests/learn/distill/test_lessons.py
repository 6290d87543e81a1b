"""What teachers say is asked once, kept exactly, and never mistaken for another's."""

import contextlib
import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from flyweight.core.recipe import Ensemble
from flyweight.core.store import Store
from flyweight.learn.context import Context
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.distill.lessons import lessons
from flyweight.learn.fit import Fit
from flyweight.learn.train import Train


class Counted(nn.Module):
    """A teacher that counts the examples that it is shown."""

    seen = 0

    def __init__(self):
        super().__init__()
        self.inside = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Dropout(0.5))

    def forward(self, x):
        Counted.seen += len(x)
        return self.inside(x)


@pytest.fixture
def taught(tiny_task):
    Counted.seen = 0
    return dataclasses.replace(tiny_task, teacher=Counted().eval(), fit=Fit(precision="no"))


def ask(task, indices, augmented=False, cache=True):
    inputs = (task.data.train.tensors[0][indices],)
    return lessons(Context(task, indices, augmented), inputs, cache)


def test_outputs_are_looked_up_exactly(taught):
    order = torch.randperm(512)[:20]
    got = ask(taught, order)
    assert got.shape == (20, 1, 4)
    assert not got.requires_grad
    torch.testing.assert_close(got[:, 0], taught.teacher(taught.data.train.tensors[0][order]).detach())
    seen = Counted.seen
    assert ask(taught, order.flip(0)).equal(got.flip(0))
    assert Counted.seen == seen


@pytest.mark.parametrize(("augmented", "cache"), [(True, True), (False, False)])
def test_augmented_inputs_are_asked_each_time(taught, augmented, cache):
    for start in (0, 10):
        indices = torch.arange(start, start + 10)
        got = ask(taught, indices, augmented, cache)
        torch.testing.assert_close(got[:, 0], taught.teacher(taught.data.train.tensors[0][indices]).detach())
    assert Counted.seen == 40


def test_the_same_inputs_are_not_asked_twice(taught):
    inputs = (torch.randn(5, 1, 8, 8),)
    context = Context(taught, torch.arange(5), augmented=True)
    assert lessons(context, inputs, True) is lessons(context, inputs, True)
    assert Counted.seen == 5
    inputs[0].add_(1)
    lessons(context, inputs, True)
    assert Counted.seen == 10


def test_ensembles_have_a_place_each(taught):
    task = dataclasses.replace(taught, teacher=Ensemble([Counted(), Counted(), Counted()]).eval())
    got = ask(task, torch.arange(7))
    assert got.shape == (7, 3, 4)
    for place, member in enumerate(task.teacher.members):
        torch.testing.assert_close(got[:, place], member(task.data.train.tensors[0][:7]).detach())


def test_a_store_keeps_them_for_other_fits(taught, tmp_path):
    store = Store(tmp_path / "store")
    models = []
    for seed in (0, 0, 1):
        with store.working(f"key{len(models)}"):
            models.append(Train(epochs=2, loss=distilled(), seed=seed)(taught.model, taught))
    assert Counted.seen == 512
    assert len(list((store.folder / "teachers").glob("*.safetensors"))) == 1
    assert all(v.equal(models[1].state_dict()[name]) for name, v in models[0].state_dict().items())


def test_other_teachers_and_other_data_are_not_mistaken(taught, tmp_path):
    x, y = taught.data.train.tensors
    changed = x.clone()
    changed[100, 0, 3, 3] += 1e-3
    other = dataclasses.replace(taught, teacher=Counted().eval())
    moved = dataclasses.replace(taught, data=dataclasses.replace(taught.data, train=TensorDataset(changed, y)))
    with Store(tmp_path / "store").working("key"):
        first, second, third = (ask(task, torch.arange(512)) for task in (taught, other, moved))
    assert Counted.seen == 3 * 512
    assert not first.equal(second)
    assert not first.equal(third)
    assert first[:100].equal(third[:100])


class Random(Dataset):
    """Gives another image each time, as a data set with its own augmentation does."""

    def __init__(self, inside, noise):
        self.inside, self.noise = inside, noise

    def __len__(self):
        return len(self.inside)

    def __getitem__(self, index):
        x, y = self.inside[index]
        return x + self.noise * torch.randn_like(x), y


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_data_that_change_are_not_kept(taught, noise):
    data = dataclasses.replace(taught.data, train=Random(taught.data.train, noise))
    task = dataclasses.replace(taught, data=data)
    context, inputs = Context(task, torch.arange(5)), (torch.randn(5, 1, 8, 8),)
    kept = not lessons(context, inputs, True)[:, 0].allclose(task.teacher(inputs[0]))
    assert kept == (noise == 0.0), "only a data set that repeats itself is looked up by index"


def test_outputs_too_large_to_keep_are_asked_each_time(taught, monkeypatch):
    monkeypatch.setattr("flyweight.learn.distill.lessons._LARGEST_BYTES", 512 * 4 * 4 - 1)
    got = ask(taught, torch.arange(5))
    torch.testing.assert_close(got[:, 0], taught.teacher(taught.data.train.tensors[0][:5]).detach())
    seen = Counted.seen
    ask(taught, torch.arange(5, 10))
    assert Counted.seen == seen + 5, "the table was not tried again"


def test_the_teacher_is_asked_in_the_students_precision_unless_kept(taught):
    opened = []

    @contextlib.contextmanager
    def autocast():
        opened.append(1)
        yield

    inputs = (taught.data.train.tensors[0][:5],)
    lessons(Context(taught, torch.arange(5), True, autocast), inputs, True)
    assert opened == [1]
    lessons(Context(taught, torch.arange(5), False, autocast), inputs, True)
    assert opened == [1]


def test_a_teacher_that_is_no_module_teaches(taught):
    task = dataclasses.replace(taught, teacher=lambda x: x.flatten(1)[:, :4])
    Train(epochs=1, loss=distilled())(taught.model, task)
    assert ask(task, torch.arange(3)).equal(task.data.train.tensors[0][:3].flatten(1)[:, :4].unsqueeze(1))
