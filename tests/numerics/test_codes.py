import pytest

from flyweight.core.errors import ShapeError
from flyweight.numerics.codes import CodeRange


@pytest.mark.parametrize("bits", range(2, 9))
def test_ranges_are_those_of_two_s_complement(bits):
    assert (CodeRange(bits).low, CodeRange(bits).high) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert (CodeRange(bits, signed=False).low, CodeRange(bits, signed=False).high) == (0, 2**bits - 1)
    narrow = CodeRange(bits, narrow=True)
    assert -narrow.low == narrow.high == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("bits", [1, 9, 8.0, True, "8"])
def test_other_bits_are_refused(bits):
    with pytest.raises(ShapeError, match=r"codes have 2 to 8 bits, and got .*Choose one of 2, 3, … 8"):
        CodeRange(bits)


def test_narrow_and_unsigned_contradict_each_other():
    with pytest.raises(ShapeError, match="a narrow range is a signed one"):
        CodeRange(8, signed=False, narrow=True)
