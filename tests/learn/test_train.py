"""The step that trains: its fields, its teachers, its JSON."""

import dataclasses

import pytest

from flyweight.compress.sparsify.l1 import l1
from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json
from flyweight.learn.augment.flip import flip
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.distill.matched import matched
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.train import Train

RECIPE = (Train(epochs=1),)


def test_it_hands_the_model_to_the_tasks_own_loop(fresh_task):
    calls = []

    def loop(model, task, train):
        calls.append((model, task, train))
        return model

    task = dataclasses.replace(fresh_task, fit=loop)
    step = Train(epochs=3)
    assert step.edit(task.model, task) is task.model
    assert calls == [(task.model, task, step)]


def test_teachers_are_found_inside_other_objectives():
    assert Train(epochs=1).teachers() == ()
    assert Train(epochs=1, loss=distilled()).teachers() == ()
    assert Train(epochs=1, loss=distilled(teachers=(RECIPE,))).teachers() == (RECIPE,)
    assert Train(epochs=1, loss=mixed(inner=distilled(teachers=[list(RECIPE)] * 2))).teachers() == (RECIPE, RECIPE)


def test_objectives_that_name_different_teachers_cannot_be_served():
    @dataclasses.dataclass(frozen=True)
    class both:
        one: object
        two: object

        def __call__(self, forward, batch, context): ...

    other = (Train(epochs=2),)
    with pytest.raises(FlyweightError, match="2 objectives that name teachers"):
        Train(epochs=1, loss=both(distilled(teachers=(RECIPE,)), matched(teachers=(other,)))).teachers()


def test_a_penalty_alone_is_no_objective():
    with pytest.raises(FlyweightError, match=r"called with \(forward, batch, context\): .* loss=penalized\(l1\(\)\)"):
        Train(epochs=1, loss=l1(1e-4))
    with pytest.raises(FlyweightError, match=r"got loss='distilled'. Give an objective such as distilled\(\), or None"):
        Train(epochs=1, loss="distilled")


def test_it_is_json():
    step = Train(
        epochs=2, optimizer=sgd(), loss=mixed(0.2, distilled(2.0, teachers=(RECIPE,))), augment=[flip()], seed=3
    )
    assert from_json(to_json(step)) == step
    assert step.augment == (flip(),)
    hash(step)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"epochs": -1}, "Train got epochs=-1. Give a whole number, 0 or more"),
        ({"epochs": 1.5}, "Train got epochs=1.5"),
        ({"epochs": 1, "batch_size": 0}, "Train got batch_size=0. Give a whole number, 1 or more"),
        ({"epochs": 1, "seed": -1}, "Train got seed=-1"),
        ({"epochs": 1, "optimizer": adam}, "Train got optimizer=.*Give adam"),
        ({"epochs": 1, "optimizer": "adam"}, "Train got optimizer='adam'"),
        ({"epochs": 1, "loss": distilled}, "Train got loss=.*Give an objective such as distilled"),
        ({"epochs": 1, "augment": flip()}, r"Train got augment=flip\(p=0.5\). Give a tuple"),
        ({"epochs": 1, "augment": (flip,)}, "Each must be a callable of a batch"),
    ],
)
def test_errors_say_what_and_the_way_out(fields, text):
    with pytest.raises(FlyweightError, match=text):
        Train(**fields)


def test_no_epochs_change_nothing(tiny_task):
    before = {name: value.clone() for name, value in tiny_task.model.state_dict().items()}
    after = Train(epochs=0)(tiny_task.model, tiny_task).state_dict()
    assert all(value.equal(after[name]) for name, value in before.items())
