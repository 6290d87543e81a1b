"""Labels neither cover each other nor leave the picture."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from flyweight.report.labels import Box, place, text_width

_FRAME = Box(0, 0, 400, 300)
_POINTS = st.lists(
    st.tuples(st.floats(0, 400), st.floats(0, 300), st.sampled_from(["a", "w0.25 int8", "a long label"]))
)


@given(_POINTS)
def test_no_label_covers_another(wanted: list[tuple[float, float, str]]) -> None:
    obstacles = [Box(x - 5, y - 5, x + 5, y + 5) for x, y, _ in wanted]
    found = place(wanted, obstacles, _FRAME, 11)
    assert len(found) == len(wanted)
    kept = [b for b in found if b is not None]
    assert all(b.inside(_FRAME) for b in kept)
    assert all(a.overlap(b) == 0 for a, b in itertools.combinations(kept, 2))
    assert all(sum(b.overlap(o) for o in obstacles) < b.area / 3 for b in kept)


def test_a_label_with_room_is_written() -> None:
    assert place([(200, 150, "here")], [], _FRAME, 11)[0] is not None


def test_wide_letters_are_wide() -> None:
    assert text_width("WWW", 10) > text_width("abc", 10) > text_width("iii", 10)
