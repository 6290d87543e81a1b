"""A stretch of a training is what the whole is there: bit for bit, in batches, rates and random numbers."""

import copy
import dataclasses
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.store import Store
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.stretch import stretch
from flyweight.learn.train import Train
from flyweight.tasks.cross_entropy import cross_entropy

EXAMPLES = 81  # of batches of 16: five steps an epoch, the last of 17


class Drawn(Dataset):
    """Examples that are drawn anew whenever they are asked for."""

    def __init__(self, inside):
        self.inside = inside

    def __len__(self):
        return len(self.inside)

    def __getitem__(self, index):
        x, y = self.inside[index]
        return x + 0.1 * torch.randn_like(x) + 0.01 * random.random(), y


def jittered(inputs):
    return inputs + 0.1 * torch.randn_like(inputs)


def small(task, kind, **fit):
    data = TensorDataset(*(t[:EXAMPLES] for t in task.data.train.tensors))
    splits = dataclasses.replace(task.data, train=data if kind == "tensors" else Drawn(data))
    # With dropout: whoever begins within an epoch must draw what is drawn there.
    model = nn.Sequential(*task.model[:-1], nn.Dropout(0.3), task.model[-1])
    return dataclasses.replace(task, model=model, data=splits, fit=Fit(precision="no", **fit))


def training(optimizer, seed=0):
    return Train(epochs=3, optimizer=optimizer, augment=(jittered,), batch_size=16, seed=seed)


def same(one, other):
    return all(value.equal(other.state_dict()[name]) for name, value in one.state_dict().items())


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 15), max_size=3), st.integers(1, 3), st.sampled_from(["tensors", "drawn"]))
def test_stretches_one_after_another_are_the_whole(tiny_task, cuts, pieces, kind):
    task = small(tiny_task, kind, accumulate=pieces)
    train = training(sgd(lr=0.05, momentum=0.0, warmup=0.2), seed=pieces)  # which remembers nothing
    whole = train(task.model, task)
    model = copy.deepcopy(task.model)
    ends = [0, *sorted(cuts), 15]
    for start, stop in zip(ends, ends[1:], strict=False):
        model = stretch(model, task, train, start, stop)
    assert same(model, whole)


@pytest.mark.parametrize("optimizer", [adam(lr=5e-3, weight_decay=0.1), sgd(lr=0.05, clip=1.0)], ids=["adam", "sgd"])
@pytest.mark.parametrize("cut", [1, 5, 7])
@pytest.mark.parametrize("kind", ["tensors", "drawn"])
def test_a_new_optimizer_is_all_that_a_cut_changes(fresh_task, optimizer, cut, kind):
    """Against one training whose optimizer is made to forget at that step."""

    def forget(progress):
        if progress.step == cut:
            progress.optimizer.state.clear()

    train = training(optimizer)
    forgetful = small(fresh_task, kind, after_step=(forget,))
    wanted = train(forgetful.model, forgetful)
    task = small(fresh_task, kind)
    early = stretch(copy.deepcopy(task.model), task, train, 0, cut)
    assert not same(early, wanted)
    assert same(stretch(early, task, train, cut), wanted)
    assert not same(train(task.model, task), wanted)


def test_batches_rates_and_counts_are_those_of_the_whole(fresh_task):
    task = small(fresh_task, "tensors")
    seen = []

    def noted(forward, batch):
        seen.append([batch[0].clone(), batch[1].clone()])
        return cross_entropy(forward, batch)

    def told(progress):
        seen[-1] += [progress.step, progress.total, [group["lr"] for group in progress.optimizer.param_groups]]

    task = dataclasses.replace(task, loss=noted, fit=Fit(precision="no", after_step=(told,)))
    train = training(sgd(lr=0.05, warmup=0.3))
    train(task.model, task)
    whole = seen.copy()
    assert [len(y) for _, y, *_ in whole] == [16, 16, 16, 16, 17] * 3
    seen.clear()
    stretch(copy.deepcopy(task.model), task, train, 7, 13)
    assert len(seen) == 6
    for (x, y, *more), (wanted_x, wanted_y, *wanted_more) in zip(seen, whole[7:13], strict=True):
        assert x.equal(wanted_x)
        assert y.equal(wanted_y)
        assert more == wanted_more


def test_no_two_steps_draw_the_same(fresh_task):
    drawn = []

    class Drawing(Drawn):
        def __getitem__(self, index):
            drawn.extend([torch.rand(()).item(), random.random()])
            return self.inside[index]

    def loss(forward, batch):
        drawn.extend([torch.rand(()).item(), random.random()])
        return cross_entropy(forward, batch)

    task = small(fresh_task, "tensors")
    splits = dataclasses.replace(task.data, train=Drawing(task.data.train))
    task = dataclasses.replace(task, data=splits, loss=loss)
    training(sgd())(task.model, task)
    assert len(drawn) >= 2 * 3 * (EXAMPLES + 5)
    assert len({round(number, 6) for number in drawn}) > 0.99 * len(drawn)


@pytest.mark.parametrize("optimizer", [adam(lr=5e-3), sgd(lr=0.05)], ids=["adam", "sgd"])
@pytest.mark.parametrize("fatal", [(1,), (2, 5), (4, 5, 6, 9)])
@pytest.mark.parametrize("kind", ["tensors", "drawn"])
def test_a_stretch_that_broke_off_ends_bitwise_the_same(fresh_task, tmp_path, optimizer, fatal, kind):
    task = small(fresh_task, kind, checkpoint_seconds=0)
    train = training(optimizer)
    wanted = stretch(copy.deepcopy(task.model), task, train, 3, 12)
    calls = []

    def mortal(forward, batch):
        calls.append(1)
        if len(calls) in fatal:
            raise KeyboardInterrupt
        return cross_entropy(forward, batch)

    doomed = dataclasses.replace(task, loss=mortal)
    with Store(tmp_path / "store").working("key"):
        for _ in fatal:
            with pytest.raises(KeyboardInterrupt):
                stretch(copy.deepcopy(task.model), doomed, train, 3, 12)
        got = stretch(copy.deepcopy(task.model), doomed, train, 3, 12)
        assert len(calls) == 9 + len(fatal), "nothing was done twice but the steps that broke"
        assert same(got, wanted)
        stretch(copy.deepcopy(task.model), doomed, train, 3, 11)
        assert len(calls) == 9 + len(fatal) + 8, "another stretch is another run"


def test_steps_that_there_are_not(fresh_task):
    task = small(fresh_task, "tensors")
    for start, stop in ((-1, None), (5, 4), (3, 16), (16, None)):
        with pytest.raises(FlyweightError, match=rf"start={start} and stop=.* has 15 optimizer steps.*stop <= 15"):
            stretch(task.model, task, training(sgd()), start, stop)


def test_a_loop_of_the_users_own(fresh_task):
    asked = []

    def whole(model, task, train):
        return model

    def parted(model, task, train, start=0, stop=None):
        asked.append((start, stop))
        return model

    train = training(sgd())
    task = dataclasses.replace(fresh_task, fit=whole)
    assert stretch(task.model, task, train, 0) is task.model
    with pytest.raises(UnsupportedError, match=r"fit=.*whole.* takes \(model, task, train\) alone.*start and stop"):
        stretch(task.model, task, train, 0, 3)
    task = dataclasses.replace(fresh_task, fit=parted)
    stretch(task.model, task, train, 0, 3)
    stretch(task.model, task, train, 3)
    assert asked == [(0, 3), (3, None)]
