import torch

from flyweight.compress.prune.distributions.uniform import uniform
from pools import PlainPool


def test_every_pool_loses_the_same():
    pools = [PlainPool("a", torch.ones(10)), PlainPool("b", torch.full((20,), 9.0)), PlainPool("c", torch.ones(40))]
    assert uniform()(pools, [torch.rand(len(p.parameters)) for p in pools], 0.7, None) == [0.7, 0.7, 0.7]


def test_what_a_small_pool_cannot_lose_the_others_do():
    pools = [PlainPool("a", torch.ones(1)), PlainPool("b", torch.ones(19))]
    assert uniform()(pools, [torch.rand(1), torch.rand(19)], 0.9, None) == [0.0, 18 / 19]


def test_rounding_does_not_add_up():
    pools = [PlainPool(str(i), torch.ones(3)) for i in range(100)]
    found = uniform()(pools, [torch.rand(3) for _ in pools], 0.5, None)
    assert round(sum(found) * 3) == 150 and set(found) == {1 / 3, 2 / 3}
