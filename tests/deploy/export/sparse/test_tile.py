"""Tiles follow the zeros."""

import numpy as np
import pytest

from flyweight.deploy.export.sparse.tile import tile


@pytest.mark.parametrize("rows", [1, 2, 4, 8, 16])
def test_tiles_are_those_in_which_the_zeros_stand(rows):
    random = np.random.default_rng(0)
    weight = np.kron(random.random((64 // rows, 40)) < 0.1, np.ones((rows, 1))).astype(np.float32)
    assert tile(weight) == (rows, 1)


def test_a_dense_weight_and_an_empty_one_have_a_tile():
    assert tile(np.ones((16, 4, 3, 3), np.float32))[0] >= 4
    assert tile(np.zeros((16, 4), np.float32))[1] == 1


def test_few_rows_are_not_padded_to_many():
    assert tile(np.ones((2, 40), np.float32))[0] <= 2
    assert tile(np.ones((5, 40), np.float32))[0] <= 8
