"""The least of those asked for."""

import pytest
import torch

from flyweight.compress.prune.regrow.least import least


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_the_least_are_among_those_asked_for(count):
    value = torch.tensor([0.0, 3.0, 1.0, 1.0, -5.0, 1.0])
    among = torch.tensor([False, True, True, True, False, True])
    assert least(value, among, count).nonzero().flatten().tolist() == sorted([2, 3, 5, 1][:count])
