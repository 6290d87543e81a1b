import dataclasses

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.scores.random import random
from flyweight.compress.prune.structures.element import element
from nets import masks, plain_task, random_net


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=5),
    st.floats(0, 0.99),
    st.sampled_from([uniform(), global_()]),
    st.integers(0, 99),
)
def test_exactly_the_ratio_goes_and_no_layer_is_emptied(widths, ratio, distribution, seed):
    model = random_net(widths, seed)
    step = Prune(ratio, distribution=distribution)
    pruned = step(model, plain_task(model))
    kept = [int(mask.keep.sum()) for mask in masks(pruned)]
    sizes = [mask.keep.numel() for mask in masks(pruned)]
    assert min(kept) >= 1
    most = sum(sizes) - len(sizes)
    assert abs(sum(sizes) - sum(kept) - min(ratio * sum(sizes), most)) <= 0.5 + 1e-6
    assert bool(torch.isfinite(pruned(torch.randn(3, 4))).all())


def test_the_least_weights_go(tiny_task):
    pruned = Prune(0.7)(tiny_task.model, tiny_task)
    for name in ("4", "9"):
        before, after = tiny_task.model.get_submodule(name).weight, pruned.get_submodule(name).weight
        assert torch.equal(after[after != 0], before[after != 0])
        assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    assert torch.equal(pruned[0].weight, tiny_task.model[0].weight)
    assert not hasattr(pruned[0], "parametrizations")
    assert torch.equal(pruned[9].bias, tiny_task.model[9].bias)


def test_ratios_are_of_the_whole_and_nothing_comes_back(tiny_task):
    once = Prune(0.5)(tiny_task.model, tiny_task)
    again = Prune(0.5, score=random())(once, tiny_task)
    less = Prune(0.2, score=random())(once, tiny_task)
    more = Prune(0.8, score=random())(once, tiny_task)
    for a, b, c, d in zip(*map(masks, (once, again, less, more)), strict=True):
        assert torch.equal(a.keep, b.keep)
        assert torch.equal(a.keep, c.keep)
        assert bool((a.keep | ~d.keep).all())
    assert sum(int((~mask.keep).sum()) for mask in masks(more)) == round(0.8 * (1152 + 256))


def test_a_shared_weight_loses_the_same_everywhere():
    model = random_net([4, 4, 4], 0)
    model[3].weight = model[2].weight
    task = plain_task(model)
    pruned = Prune(0.5)(model, task)
    assert int((pruned[2].weight == 0).sum()) == 8
    assert torch.equal(pruned[2].weight, pruned[3].weight)
    original = pruned[2].parametrizations.weight.original
    assert original is pruned[3].parametrizations.weight.original
    state = pruned.state_dict()
    again = Prune(0.5).replay(random_net([4, 4, 4], 0), task, state)
    again.load_state_dict(state)
    assert torch.equal(again[3].weight, pruned[3].weight)


def test_the_first_layer_on_demand(tiny_task):
    pruned = Prune(0.5, structure=element(first=True))(tiny_task.model, tiny_task)
    assert len(masks(pruned)) == 3
    assert dataclasses.asdict(element()) == {"first": False}
