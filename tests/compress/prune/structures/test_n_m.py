import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.compress.prune.scores.random import random
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.n_m import n_m
from flyweight.core.errors import ShapeError, UnsupportedError
from flyweight.core.recipe import run
from flyweight.learn.train import Train
from flyweight.surgery.mask import mask_of
from nets import masks, plain_task


def groups(keep, m):
    return keep.movedim(1, -1).reshape(-1, m).sum(1)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (4, 8)]), st.integers(1, 6), st.integers(0, 99))
def test_exactly_n_of_each_m_inputs_stay_the_greatest(pattern, outputs, seed):
    n, m = pattern
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 2 * m, 1), nn.Conv2d(2 * m, outputs, (3, 2), padding=1))
    pruned = Prune(1 - n / m, structure=n_m(n, m))(model, plain_task(model, torch.zeros(1, 1, 4, 4)))
    (mask,) = masks(pruned)
    assert bool((groups(mask.keep, m) == n).all())
    weight = model[1].weight.detach().abs().movedim(1, -1).reshape(-1, m)
    keep = mask.keep.movedim(1, -1).reshape(-1, m)
    assert bool((weight.masked_fill(~keep, 9).amin(1) >= weight.masked_fill(keep, 0).amax(1)).all())


@pytest.mark.parametrize(
    "step",
    [
        Prune(0.5, structure=n_m(2, 4), schedule=cubic(every=0.1)),
        Prune(0.5, score=taylor(), structure=n_m(2, 4), schedule=iterative(2)),
        Prune(0.5, score=random(3), structure=n_m(2, 4)),
    ],
    ids=["cubic", "iterative", "random"],
)
def test_every_schedule_ends_at_the_pattern(step, tiny_task):
    model = run([step, Train(epochs=1)], tiny_task.model, tiny_task)
    assert all(bool((groups(mask.keep, 4) == 2).all()) for mask in masks(model))
    assert len(masks(model)) == 2


def test_inputs_that_are_no_multiple_are_all_named_with_what_to_exclude(tiny_task, residual_task):
    with pytest.raises(
        ShapeError,
        match=r"n_m\(2, 4\) needs inputs in multiples of 4, and of the layers 1 have others: 'two.0' with 1. Use "
        r"exclude=\('head', 'two.0'\).",
    ):
        Prune(0.5, structure=n_m(), exclude=("head",))(residual_task.model, residual_task)
    pruned = Prune(0.5, structure=n_m(), exclude=("two.0",))(residual_task.model, residual_task)
    assert len(masks(pruned)) == 2


def test_a_pattern_is_checked_and_groups_that_lost_more_are_refused(tiny_task):
    with pytest.raises(ShapeError, match=r"n_m got n=4 and m=4. Give whole numbers, 1 ≤ n < m, as in n_m\(2, 4\)."):
        n_m(4, 4)
    first = Prune(0.6)(tiny_task.model, tiny_task)
    with pytest.raises(UnsupportedError, match="of some 4 weights of '4' fewer than 2 are left, so other groups would"):
        Prune(0.5, structure=n_m())(first, tiny_task)


def test_what_had_gone_counts_among_those_that_go(tiny_task):
    model = copy.deepcopy(tiny_task.model)
    mask_of(model[4]).keep[:, ::4] = False  # one of each four, whatever a score of chance thinks of it
    pruned = Prune(0.5, score=random(3), structure=n_m(2, 4))(model, tiny_task)
    assert all(bool((groups(mask.keep, 4) == 2).all()) for mask in masks(pruned))
    assert not pruned[4].parametrizations.weight[0].keep[:, ::4].any()
