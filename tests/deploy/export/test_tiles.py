import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.deploy.export.tiles import tiles


def whole(cut, tile, shape):
    """Back from tiles to the weight, tile by tile."""
    rows, columns = tile
    matrix = np.zeros((cut.grid[0] * rows, cut.grid[1] * columns), cut.kept.dtype)
    kept = iter(cut.kept)
    for place in range(cut.grid[0] * cut.grid[1]):
        if cut.bits[place // 8, 0] >> (7 - place % 8) & 1:
            top, left = place // cut.grid[1] * rows, place % cut.grid[1] * columns
            matrix[top : top + rows, left : left + columns] = next(kept)
    assert next(kept, None) is None
    assert not matrix[cut.size[0] :].any()
    assert not matrix[:, cut.size[1] :].any()
    return matrix[: cut.size[0], : cut.size[1]].reshape(shape)


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
    assert np.array_equal(whole(cut, tile, shape), weight)
    filled = (cut.kept != 0).any((1, 2))
    assert len(filled) >= 1
    assert filled.all() or (len(filled) == 1 and not weight.any())
    assert len(cut.bits) == -(-cut.grid[0] * cut.grid[1] // 8)


def test_a_number_that_is_minus_zero_is_none():
    assert len(tiles(np.array([[-0.0, 1.0, -0.0, 2.0]], np.float32), (1, 1)).kept) == 2
