import dataclasses

import pytest
import torch

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.core.recipe import run
from flyweight.core.step import Step
from flyweight.core.store import Store
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from nets import masks

CALLS = []


MORTAL = []


@dataclasses.dataclass(frozen=True)
class Counted(Step):
    """Trains, and is killed at the call whose number is in ``MORTAL``."""

    def edit(self, model, task):
        CALLS.append(sum(int(mask.keep.sum()) for mask in masks(model)))
        if len(CALLS) in MORTAL:
            raise KeyboardInterrupt
        return Train(epochs=1, optimizer=adam(lr=1e-2)).edit(model, task)


@pytest.fixture(autouse=True)
def _nothing_called():
    CALLS.clear()
    MORTAL.clear()


def gone(model):
    return sum(int((~mask.keep).sum()) for mask in masks(model))


def test_each_round_prunes_what_remains_and_then_trains(tiny_task):
    step = Prune(0.875, schedule=iterative(3, Counted()))
    pruned = run([step], tiny_task.model, tiny_task)
    assert CALLS == [704, 352, 176]
    assert gone(pruned) == 1408 - 176
    assert not torch.equal(pruned[0].weight, tiny_task.model[0].weight), "it trained"


def test_a_killed_run_repeats_no_finished_round_and_ends_alike(tiny_task, tmp_path):
    step = Prune(0.875, schedule=iterative(3, Counted()))
    whole = run([step], tiny_task.model, tiny_task)
    CALLS.clear()
    MORTAL.append(3)
    with pytest.raises(KeyboardInterrupt):
        run([step], tiny_task.model, tiny_task, Store(tmp_path))
    MORTAL.clear()
    assert len(CALLS) == 3
    assert [path.name for path in tmp_path.rglob("round-*")] == ["round-2.safetensors"]
    resumed = run([step], tiny_task.model, tiny_task, Store(tmp_path))
    assert CALLS[3:] == [176]
    assert not list(tmp_path.rglob("round-*"))
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


def test_the_training_may_have_teachers(tiny_task):
    teacher = (Train(epochs=1),)
    step = Prune(0.5, schedule=iterative(1, Train(epochs=1, loss=distilled(teachers=(teacher,)))))
    assert step.teachers() == (teacher,)
    assert Prune(0.5).teachers() == ()
    assert gone(run([step], tiny_task.model, tiny_task)) == 704
