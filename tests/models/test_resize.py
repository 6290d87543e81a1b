import dataclasses

import pytest
import torch

import flyweight.core.recipe as recipe
from flyweight.core.errors import FlyweightError, TaskError
from flyweight.core.serial import from_json, to_json
from flyweight.core.store import Store
from flyweight.models.resize import Resize


def _values(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_gives_the_family_s_model_at_that_width(tiny_task):
    resized = Resize(0.5)(tiny_task.model, tiny_task)
    assert resized[0].out_channels == 4
    assert tiny_task.model[0].out_channels == 8
    assert tiny_task.quality(resized.eval(), [tiny_task.data.select.tensors]) < 0.6


def test_the_seed_alone_decides_the_values(tiny_task):
    torch.manual_seed(1)
    first = Resize(0.5, seed=3)(tiny_task.model, tiny_task)
    state = torch.random.get_rng_state()
    second = Resize(0.5, seed=3)(tiny_task.model, tiny_task)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(_values(first), _values(second))
    assert not torch.equal(_values(first), _values(Resize(0.5, seed=4)(tiny_task.model, tiny_task)))


def test_replay_builds_the_same(tiny_task):
    step = Resize(0.75, seed=5)
    assert torch.equal(_values(step(tiny_task.model, tiny_task)), _values(step.replay(tiny_task.model, tiny_task, {})))


@pytest.mark.parametrize("training", [True, False])
def test_keeps_the_mode(tiny_task, training):
    assert Resize(2.0)(tiny_task.model.train(training), tiny_task).training is training


def test_is_kept_and_found_again(tiny_task, tmp_path):
    first = recipe.run([Resize(0.5)], tiny_task.model, tiny_task, Store(tmp_path / "run"))
    again = recipe.run([Resize(0.5)], tiny_task.model, tiny_task, Store(tmp_path / "run"))
    assert torch.equal(_values(first), _values(again))
    assert from_json(to_json(Resize(0.5, seed=2))) == Resize(0.5, seed=2)


def test_without_a_family(residual_task):
    with pytest.raises(
        TaskError, match=r"Resize\(width=0\.5\) needs task\.family, and the task 'tiny-residual' has none"
    ):
        Resize(0.5)(residual_task.model, residual_task)


def test_a_family_that_gives_no_model(tiny_task):
    task = dataclasses.replace(tiny_task, family=lambda width: "model")
    with pytest.raises(TaskError, match=r"returned str at width 0\.5"):
        Resize(0.5)(tiny_task.model, task)


@pytest.mark.parametrize("width", [0, -0.5, float("nan"), float("inf")])
def test_no_width(width):
    with pytest.raises(FlyweightError, match="the width must be above 0"):
        Resize(width)
