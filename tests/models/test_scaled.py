import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.core.errors import ShapeError
from flyweight.models.scaled import scaled


@given(st.integers(1, 2000), st.floats(0.001, 8), st.integers(1, 16))
def test_is_the_nearest_multiple_and_never_none(count, width, multiple):
    found = scaled(count, width, multiple)
    assert found % multiple == 0 and found >= multiple
    assert abs(found - count * width) <= max(multiple / 2 + 1e-6, multiple - count * width)


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_no_width(width):
    with pytest.raises(ShapeError, match="Give a width above 0"):
        scaled(64, width)
