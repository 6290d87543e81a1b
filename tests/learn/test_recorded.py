"""A forward pass that was already made."""

import torch

from flyweight.learn.recorded import recorded


def test_it_answers_anything_with_the_very_output():
    output = torch.rand(2)
    assert recorded(output)(torch.zeros(1), mask=None) is output
