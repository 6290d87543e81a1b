"""What all distributions keep to."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.compress.prune.distributions.earliest import ascending
from flyweight.compress.prune.distributions.erdos_renyi import erdos_renyi
from flyweight.compress.prune.distributions.fixed import fixed
from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.distributions.sensitivity import sensitivity
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.pool import strongest
from flyweight.core.errors import FlyweightError, TrainingError
from flyweight.core.serial import from_json, to_json
from pools import PlainPool

FREE = (
    *(uniform(), global_(), global_(normalize="mean"), global_(normalize="l2"), erdos_renyi()),
    *(erdos_renyi(kernel=False), sensitivity(), sensitivity(ratios=(0.5,)), fixed((("*", 0.99999),))),
)


def damage(pool, ratio):
    """A rise that differs from pool to pool, and is not convex."""
    return len(pool.parameters) * (ratio**2 + 0.2 * math.sin(9 * ratio))


@st.composite
def pruning(draw):
    """Pools of units of differing sizes and any saliency, some of it the same, some of it gone."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pools, saliency = [], []
    for index in range(draw(st.integers(1, 5))):
        units = draw(st.integers(1, 40))
        sizes = torch.randint(1, draw(st.integers(2, 12)), (units,), generator=generator).float()
        shape = tuple(draw(st.lists(st.integers(1, 64), min_size=2, max_size=4)))
        pools.append(PlainPool(f"pool{index}", sizes, shape))
        scores = torch.randn(units, generator=generator).mul(draw(st.sampled_from((0.0, 1.0, 1e20))))
        scores[torch.rand(units, generator=generator) < draw(st.sampled_from((0.0, 0.3)))] = 0.25
        scores[torch.rand(units, generator=generator) < draw(st.sampled_from((0.0, 0.0, 0.4)))] = -math.inf
        scores[torch.rand(units, generator=generator) < draw(st.sampled_from((0.0, 0.0, 0.2)))] = math.inf
        saliency.append(scores)
    return pools, saliency


def gone(pools, saliency, fractions):
    """The parameters that leave when each pool loses its least salient units, as ``strongest`` keeps the others."""
    lost = 0.0
    for pool, scores, fraction in zip(pools, saliency, fractions, strict=True):
        count = round(fraction * len(scores))
        assert count / len(scores) == fraction  # a whole number of units
        keep = strongest(scores, len(scores) - count)
        assert int(keep.sum()) == len(scores) - count >= 1  # never emptied
        lost += float(pool.parameters[~keep].sum())
    return lost


@pytest.mark.parametrize("distribution", FREE, ids=repr)
@settings(max_examples=25, deadline=None)
@given(case=pruning(), ratio=st.floats(0, 0.99), more=st.floats(0, 0.99))
def test_the_fraction_of_parameters_is_met_no_pool_is_emptied_and_more_takes_more(distribution, case, ratio, more):
    pools, saliency = case
    ratio, more = min(ratio, more), max(ratio, more)
    total = sum(float(pool.parameters.sum()) for pool in pools)
    largest = max(float(pool.parameters.max()) for pool in pools)
    # Of each pool the most salient unit stays; more than all others cannot go.
    stay = [float(pool.parameters[ascending(scores)[-1]]) for pool, scores in zip(pools, saliency, strict=True)]
    fractions = distribution(pools, saliency, ratio, damage)
    wanted = min(ratio * total, total - sum(stay))
    assert abs(gone(pools, saliency, fractions) - wanted) <= largest / 2 + 1e-6 * total
    further = distribution(pools, saliency, more, damage)
    assert all(a <= b for a, b in zip(fractions, further, strict=True))


@pytest.mark.parametrize("distribution", FREE, ids=repr)
def test_nothing_goes_at_ratio_zero_and_it_comes_back_from_json(distribution):
    pools = [PlainPool("a", torch.ones(7)), PlainPool("b", torch.ones(1))]
    saliency = [torch.rand(7), torch.rand(1)]
    assert distribution(pools, saliency, 0.0, damage) == [0.0, 0.0]
    assert distribution([], [], 0.5, damage) == []
    assert from_json(to_json(distribution)) == distribution
    assert dataclasses.is_dataclass(distribution) and type(distribution).__dataclass_params__.frozen


@pytest.mark.parametrize("distribution", FREE, ids=repr)
@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, float("nan"), True, "half"])
def test_a_ratio_that_is_no_fraction(distribution, ratio):
    pools, saliency = [PlainPool("a", torch.ones(4))], [torch.rand(4)]
    with pytest.raises(
        FlyweightError, match=r"is no fraction to remove. Give 0 or more and less than 1, as in ratio=0.5"
    ):
        distribution(pools, saliency, ratio, damage)


@pytest.mark.parametrize("distribution", FREE, ids=repr)
def test_saliency_of_nan(distribution):
    pools, saliency = [PlainPool("stem", torch.ones(4))], [torch.tensor([1.0, float("nan"), 2.0, 3.0])]
    with pytest.raises(TrainingError, match=r"units of 'stem' have a saliency of NaN and can't be ordered"):
        distribution(pools, saliency, 0.5, damage)


@pytest.mark.parametrize("distribution", [d for d in FREE if not isinstance(d, sensitivity)], ids=repr)
def test_what_is_gone_already_counts_and_goes_first(distribution):
    pools = [PlainPool("a", torch.ones(10), (4, 4)), PlainPool("b", torch.ones(10), (4, 4))]
    saliency = [torch.rand(10), torch.rand(10)]
    saliency[0][:8] = -math.inf
    first, second = distribution(pools, saliency, 0.5, damage)
    assert first >= 0.8 and first + second == pytest.approx(1.0)
