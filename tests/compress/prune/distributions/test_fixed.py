import pytest
import torch

from flyweight.compress.prune.distributions.fixed import fixed
from flyweight.core.errors import FlyweightError, UnknownNameError
from pools import PlainPool

POOLS = [PlainPool(name, torch.ones(10)) for name in ("stem", "block.one", "block.two", "head")]
SALIENCY = [torch.rand(10) for _ in POOLS]


def test_the_first_glob_that_matches_counts_and_what_none_names_stays():
    rule = fixed((("block.one", 0.2), ("block.*", 0.8), ("stem", 0.0)))
    assert rule(POOLS, SALIENCY, 0.25, None) == [0.0, 0.2, 0.8, 0.0]


def test_on_the_way_all_lose_in_proportion():
    rule = fixed((("block.*", 0.8), ("*", 0.4)))
    assert rule(POOLS, SALIENCY, 0.6, None) == [0.4, 0.8, 0.8, 0.4]
    assert rule(POOLS, SALIENCY, 0.3, None) == [0.2, 0.4, 0.4, 0.2]


def test_lists_are_taken_and_become_tuples():
    assert fixed([["*", 0.5]]) == fixed((("*", 0.5),))


def test_errors():
    with pytest.raises(FlyweightError) as error:
        fixed((("block.*", 0.8), ("stem", 0.5)))(POOLS, SALIENCY, 0.9, None)
    assert str(error.value) == (
        "FlyweightError: fixed((('block.*', 0.8), ('stem', 0.5))) takes 0.525 of the parameters away, and ratio=0.9 "
        "was asked. Set ratio=0.525, or name higher ratios."
    )
    with pytest.raises(
        UnknownNameError, match=r"fixed names 'blck.one', which no pool matches. Did you mean 'block.one'"
    ):
        fixed((("blck.one", 0.5),))(POOLS, SALIENCY, 0.1, None)
    with pytest.raises(FlyweightError, match=r"fixed got ratios=0.5. Give pairs of a glob and a ratio, as in "):
        fixed(0.5)
    with pytest.raises(FlyweightError, match=r"ratio=1.0 is no fraction to remove"):
        fixed((("*", 1.0),))
