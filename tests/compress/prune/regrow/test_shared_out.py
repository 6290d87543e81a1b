"""Sharing out: the sum is kept, so is the room, and proportions where there is room."""

from hypothesis import given
from hypothesis import strategies as st

from flyweight.compress.prune.regrow.shared_out import shared_out

PARTS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1000)), min_size=1, max_size=8)


@given(PARTS, st.floats(0, 1))
def test_all_is_shared_within_the_room(parts, filled):
    weights, room = [w for w, _ in parts], [r for _, r in parts]
    total = int(filled * sum(room))
    counts = shared_out(total, weights, room)
    assert sum(counts) == total
    assert all(0 <= count <= most for count, most in zip(counts, room, strict=True))


def test_in_proportion_and_the_rest_in_equal_parts():
    assert shared_out(10, [1, 4], [100, 100]) == [2, 8]
    assert shared_out(12, [1, 10, 1], [100, 4, 100]) == [4, 4, 4]
    assert shared_out(3, [0, 0, 0], [9, 9, 9]) == [1, 1, 1]
