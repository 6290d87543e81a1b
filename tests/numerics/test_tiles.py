import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.numerics.tiles import tile_elements, tile_sums

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3))
BLOCKS = st.tuples(st.integers(1, 5), st.integers(1, 5))


def naive(matrix, rows, columns):
    high, wide = matrix.shape
    return [
        matrix[i : i + rows, j : j + columns].sum().item()
        for i in range(0, high, rows)
        for j in range(0, wide, columns)
    ]


@given(SHAPES, BLOCKS, st.integers(0, 99))
def test_sums_are_those_of_a_loop_and_elements_the_way_back(shape, block, seed):
    values = torch.randint(-9, 9, shape, generator=torch.Generator().manual_seed(seed)).float()
    sums = tile_sums(values, block)
    assert sums.tolist() == naive(values.reshape(shape[0], -1), *block)
    numbers = torch.arange(len(sums))
    spread = tile_elements(numbers, shape, block)
    assert spread.shape == values.shape
    for number in range(len(sums)):
        assert values[spread == number].sum().item() == sums[number].item()
