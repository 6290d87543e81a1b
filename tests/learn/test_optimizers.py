"""Optimizers against torch's formulas, their groups, their rates and their errors."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.schedules import constant, cosine, one_cycle


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def after(make, decay, steps=3):
    torch.manual_seed(1)
    model = nn.Linear(3, 2)
    optimizer = make(model)
    for step in range(steps):
        optimizer.zero_grad()
        (model(torch.arange(6.0).reshape(2, 3)) ** 2).mean().mul(step + 1).backward()
        optimizer.step()
    return model


def test_adam_decays_weights_decoupled_and_spares_biases():
    ours = after(adam(lr=0.01, weight_decay=0.1), 0.1)

    def by_hand(model):
        groups = [{"params": [model.weight], "weight_decay": 0.1}, {"params": [model.bias], "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.01, foreach=False, fused=False)

    theirs = after(by_hand, 0.1)
    for got, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_sgd_has_nesterov_momentum():
    ours = after(sgd(lr=0.001, momentum=0.8), 0)
    theirs = after(lambda m: torch.optim.SGD(m.parameters(), lr=0.001, momentum=0.8, nesterov=True, fused=False), 0)
    for got, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("make", [adam, sgd])
def test_decay_is_for_weights_alone(make):
    model = network()
    decayed, plain = make(weight_decay=0.1)(model).param_groups
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[3].weight)}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert len(plain["params"]) == 4


def test_frozen_parameters_are_left_out():
    model = network()
    model[0].requires_grad_(False)
    held = [p for group in adam()(model).param_groups for p in group["params"]]
    assert len(held) == 4
    with pytest.raises(FlyweightError, match=r"Sequential has no parameter to train.*Set requires_grad"):
        adam()(model.requires_grad_(False))


@given(st.integers(1, 500), st.floats(0, 0.9))
def test_warmup_rises_to_the_top_and_no_further(total, warmup):
    optimizer = adam(warmup=warmup, schedule=constant)
    factors = [optimizer.factor(step, total) for step in range(total)]
    assert all(0 < a <= b <= 1 for a, b in itertools.pairwise(factors))
    assert factors[-1] == 1 or round(warmup * total) >= total


def test_the_schedule_starts_after_the_warmup():
    optimizer = sgd(warmup=0.1, schedule=cosine)
    assert optimizer.factor(10, 100) == 1.0
    assert optimizer.factor(55, 100) == pytest.approx(0.5)
    assert sgd(schedule=cosine).factor(0, 10) == 1.0


@pytest.mark.parametrize("one", [adam(lr=0.1, schedule=one_cycle(0.2)), sgd(clip=1.0, schedule=constant), adam()])
def test_settings_are_json(one):
    assert from_json(to_json(one)) == one


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: adam(lr=0), "adam got lr=0. Give a learning rate above 0"),
        (lambda: sgd(lr=float("nan")), "sgd got lr=nan"),
        (lambda: adam(weight_decay=-1), "adam got weight_decay=-1"),
        (lambda: adam(schedule="cosine"), r"schedule='cosine'.*Give a function of flyweight.learn.schedules"),
        (lambda: adam(schedule=one_cycle), r"with its brackets"),
        (lambda: sgd(warmup=5), r"warmup=5. Give a fraction of all steps"),
        (lambda: adam(clip=0.0), r"clip=0.0. Give a norm above 0, or None"),
        (lambda: adam(betas=(0.9, 1.0)), r"betas=\(0.9, 1.0\)"),
        (lambda: sgd(momentum=1.0), "momentum=1.0"),
    ],
)
def test_errors_say_what_and_the_way_out(make, text):
    with pytest.raises(FlyweightError, match=text):
        make()
