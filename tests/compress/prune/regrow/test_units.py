"""Tiles against loops over a matrix."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.compress.prune.regrow.units import least, tile_elements, tile_sums


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_tiles_are_those_of_a_loop(outputs, inputs, kernel, rows, columns):
    values = torch.arange(outputs * inputs * kernel, dtype=torch.float32).reshape(outputs, inputs, kernel)
    matrix = values.reshape(outputs, -1)
    sums, owner = [], torch.zeros_like(matrix)
    for top in range(0, outputs, rows):
        for left in range(0, inputs * kernel, columns):
            owner[top : top + rows, left : left + columns] = len(sums)
            sums.append(matrix[top : top + rows, left : left + columns].sum().item())
    assert tile_sums(values, (rows, columns)).tolist() == sums
    spread = tile_elements(torch.arange(float(len(sums))), values.shape, (rows, columns))
    assert spread.equal(owner.reshape(values.shape))


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_the_least_are_among_those_asked_for(count):
    value = torch.tensor([0.0, 3.0, 1.0, 1.0, -5.0, 1.0])
    among = torch.tensor([False, True, True, True, False, True])
    assert least(value, among, count).nonzero().flatten().tolist() == sorted([2, 3, 5, 1][:count])
