"""Schedules against torch's own, and their bounds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.core.errors import FlyweightError
from flyweight.learn.schedules import constant, cosine, one_cycle

fractions = st.floats(0, 1)


def rates(scheduler_of, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = scheduler_of(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_is_torchs():
    theirs = rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20), 20)
    assert [cosine(i / 20) for i in range(20)] == pytest.approx(theirs)


def test_one_cycle_is_torchs():
    # torch counts the steps so that the last of them has the last rate: 21 of them are 20 ways.
    theirs = rates(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, max_lr=1.0, total_steps=21, pct_start=7 / 21, div_factor=25, final_div_factor=1e4, cycle_momentum=False
        ),
        21,
    )
    ours = [one_cycle(rise=0.3, start=0.04, end=4e-6)(i / 20) for i in range(21)]
    assert ours == pytest.approx(theirs, abs=1e-12)


@given(fractions)
def test_factors_stay_between_0_and_1(fraction):
    for schedule in (constant, cosine, one_cycle()):
        assert 0 <= schedule(fraction) <= 1


@pytest.mark.parametrize("settings", [{"rise": 0.0}, {"rise": 1.0}, {"start": -0.1}, {"end": 1.5}])
def test_one_cycle_says_what_is_wrong(settings):
    (name,) = settings
    with pytest.raises(FlyweightError, match=f"one_cycle got {name}="):
        one_cycle(**settings)
