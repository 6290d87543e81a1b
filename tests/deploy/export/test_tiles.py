import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.deploy.export.tiles import tiles


def whole(cut, shape):
    """Back from tiles to the weight, element by element."""
    matrix = np.zeros(cut.size, cut.kept.dtype)
    kept = iter(cut.kept)
    for row in range(cut.size[0]):
        for column in range(cut.size[1]):
            place = row // cut.tile[0] * cut.grid[1] + column // cut.tile[1]
            if cut.bits[place // 8] >> (7 - place % 8) & 1:
                matrix[row, column] = next(kept)
    assert next(kept, None) is None
    return matrix.reshape(shape)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.floats(0, 1),
    st.integers(0, 9),
)
def test_tiles_hold_the_weight_and_none_is_empty(shape, tile, ratio, seed):
    random = np.random.default_rng(seed)
    weight = random.integers(1, 99, shape).astype(np.int8) * (random.random(shape) >= ratio)
    cut = tiles(weight, tile)
    assert np.array_equal(whole(cut, shape), weight)
    rows, columns = tile
    matrix = weight.reshape(len(weight), -1)
    filled = sum(
        matrix[r : r + rows, c : c + columns].any()
        for r in range(0, matrix.shape[0], rows)
        for c in range(0, matrix.shape[1], columns)
    )
    assert np.unpackbits(cut.bits).sum() == max(1, filled), "no tile is empty, but one of an empty weight"
    assert len(cut.bits) == -(-cut.grid[0] * cut.grid[1] // 8)
    assert len(cut.kept) >= 1


def test_a_number_that_is_minus_zero_is_none():
    assert len(tiles(np.array([[-0.0, 1.0, -0.0, 2.0]], np.float32), (1, 1)).kept) == 2
