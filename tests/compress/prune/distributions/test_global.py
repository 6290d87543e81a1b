import pytest
import torch

from flyweight.compress.prune.distributions.global_ import global_
from flyweight.core.errors import FlyweightError
from pools import PlainPool


def two(a, b):
    return [PlainPool("a", torch.ones(len(a))), PlainPool("b", torch.ones(len(b)))], [torch.tensor(a), torch.tensor(b)]


def test_one_threshold_by_a_naive_twin():
    pools, saliency = [PlainPool(str(i), torch.ones(50)) for i in range(4)], [torch.rand(50) for _ in range(4)]
    threshold = torch.cat(saliency).sort().values[119]
    wanted = [float((s <= threshold).sum()) / 50 for s in saliency]
    assert global_()(pools, saliency, 0.6, None) == wanted


def test_normalised_pools_are_compared_by_their_own_measure():
    pools, saliency = two([1.0, 2.0, 3.0, 4.0], [100.0, 200.0, 300.0, 400.0])
    assert global_()(pools, saliency, 0.5, None) == [0.75, 0.25]  # the small ones, but for the last
    for normalize in ("mean", "l2"):
        assert global_(normalize=normalize)(pools, saliency, 0.5, None) == [0.5, 0.5]
    one = [torch.tensor([0.1, 0.1, 0.1, 5.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])]
    means, lengths = [s / s.mean() for s in one], [s / s.norm() for s in one]
    assert global_(normalize="mean")(pools, one, 0.5, None) == global_()(pools, means, 0.5, None)
    assert global_(normalize="l2")(pools, one, 0.5, None) == global_()(pools, lengths, 0.5, None)


def test_the_mean_is_that_of_a_pools_own_units_that_are_left():
    # By their means 1 and 10 all are equal; −∞ marks what is gone, and goes first.
    pools, saliency = two([1.0, 1.0, -torch.inf, -torch.inf], [10.0] * 16)
    assert global_(normalize="mean")(pools, saliency, 0.55, None) == [0.5, 9 / 16]
    assert global_(normalize="mean")(pools, saliency, 0.6, None) == [0.5, 10 / 16]
    assert global_(normalize="mean")(pools, saliency, 0.65, None) == [0.75, 10 / 16]


def test_a_pool_of_zeros_has_no_size_and_goes_first():
    pools, saliency = two([0.0] * 4, [1.0, 2.0, 3.0, 4.0])
    for normalize in ("none", "mean", "l2"):
        assert global_(normalize=normalize)(pools, saliency, 0.5, None) == [0.75, 0.25]


def test_parameters_count_and_not_units():
    pools = [PlainPool("wide", torch.full((10,), 90.0)), PlainPool("slim", torch.full((10,), 10.0))]
    saliency = [torch.arange(10.0) + 100, torch.arange(10.0)]
    assert global_()(pools, saliency, 0.09, None) == [0.0, 0.9]
    assert global_()(pools, saliency, 0.36, None) == [0.3, 0.9]


def test_units_count_where_that_is_asked():
    pools = [PlainPool("wide", torch.full((10,), 90.0)), PlainPool("slim", torch.full((10,), 10.0))]
    saliency = [torch.arange(10.0) + 5, torch.arange(10.0)]
    assert global_(of="units")(pools, saliency, 0.4, None) == [0.2, 0.6]
    with pytest.raises(FlyweightError, match=r"global_ got of='channels'. Choose 'parameters' or 'units'"):
        global_(of="channels")


def test_a_floor_under_every_pool():
    pools, saliency = two([0.1] * 10, [1.0] * 10)
    assert global_(least=0.3)(pools, saliency, 0.5, None) == [0.7, 0.3]
    assert global_(least=0.3)(pools, saliency, 0.9, None) == [0.7, 0.7]


def test_errors():
    with pytest.raises(FlyweightError, match=r"global_ got normalize='sum'. Choose one of 'none', 'mean', 'l2'."):
        global_(normalize="sum")
    with pytest.raises(FlyweightError, match=r"global_ got least=2. Give the fraction of units that each pool keeps"):
        global_(least=2)
