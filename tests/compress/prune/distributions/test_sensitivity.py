import itertools
import math

import pytest
import torch

from flyweight.compress.prune.distributions.sensitivity import sensitivity
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.core.errors import FlyweightError
from pools import PlainPool

FURTHER = sensitivity((0.5, 0.8, 0.9, 0.95, 0.98))


def pools(*sizes, units=10):
    return [PlainPool(chr(97 + i), torch.full((units,), float(size))) for i, size in enumerate(sizes)]


def curve(tables):
    """The measured rise of each pool at each ratio."""
    return lambda pool, ratio: tables[pool.name][round(ratio, 6)]


def test_the_least_rise_of_all_ways_to_meet_the_ratio():
    generator = torch.Generator().manual_seed(5)
    ratios = (0.2, 0.4, 0.6, 0.8)
    for _ in range(20):
        three = pools(3, 3, 3)
        # Convex curves: what rises ever faster.
        tables = {
            p.name: dict(zip(ratios, torch.rand(4, generator=generator).sort().values.cumsum(0).tolist(), strict=True))
            for p in three
        }
        found = sensitivity(ratios)(three, [torch.rand(10) for _ in three], 0.4, curve(tables))
        rise = sum({0.0: 0.0, **tables[p.name]}[round(f, 6)] for p, f in zip(three, found, strict=True))
        ways = [way for way in itertools.product((0.0, *ratios), repeat=3) if abs(sum(way) - 1.2) < 1e-9]
        assert rise == pytest.approx(
            min(sum({0.0: 0.0, **tables[p.name]}[r] for p, r in zip(three, way, strict=True)) for way in ways)
        )


def test_a_rise_is_weighed_against_the_parameters_that_it_frees():
    tables = {"a": {0.5: 1.0}, "b": {0.5: 2.0}}
    assert sensitivity((0.5,))(pools(1, 10), [torch.rand(10)] * 2, 50 / 110, curve(tables)) == [0.0, 0.5]


def test_equal_curves_share_evenly():
    tables = {"a": {0.8: 0.0}, "b": {0.8: 0.0}}
    assert sensitivity((0.8,))(pools(1, 1), [torch.rand(10)] * 2, 0.4, curve(tables)) == [0.4, 0.4]


def test_beyond_the_last_ratio_and_a_loss_of_nan_others_go_first():
    tables = {"a": {0.3: 0.1, 0.6: math.nan}, "b": {0.3: 5.0, 0.6: 50.0}}
    assert sensitivity((0.3, 0.6))(pools(1, 1), [torch.rand(10)] * 2, 0.45, curve(tables)) == [0.3, 0.6]
    assert sensitivity((0.3, 0.6))(pools(1, 1), [torch.rand(10)] * 2, 0.6, curve(tables)) == [0.6, 0.6]


def test_from_its_last_ratio_on_it_is_uniform_and_further_ratios_go_on():
    three = [PlainPool(name, torch.ones(units)) for name, units in (("a", 40), ("b", 60), ("c", 100))]
    scores = [torch.rand(len(pool.parameters)) for pool in three]
    steep = {"a": 1.0, "b": 2.0, "c": 30.0}
    for ratio in (0.9, 0.95):
        found, further = (d(three, scores, ratio, lambda p, r: r * steep[p.name]) for d in (sensitivity(), FURTHER))
        assert found == uniform()(three, scores, ratio, None)
        assert found[0] < further[0]
        assert found[2] > further[2]


def test_each_pool_is_tried_at_whole_units_alone():
    asked = []
    sensitivity((0.3, 0.35, 0.99))(pools(1, units=10), [torch.rand(10)], 0.5, lambda p, r: asked.append(r) or r)
    assert asked == [0.3, 0.4]  # 0.35 is four units, 0.99 all of them
    assert sensitivity.measures


def test_errors():
    with pytest.raises(
        FlyweightError, match=r"sensitivity measures what pruning does to the loss, and was given nothing"
    ):
        sensitivity()(pools(1), [torch.rand(10)], 0.5, None)
    for ratios in ((), (0.5, 0.3), (0.0, 0.5), (0.5, 0.5)):
        with pytest.raises(FlyweightError, match=r"Give fractions above 0 and below 1 that rise, as in \(0.3, 0.5,"):
            sensitivity(ratios)
