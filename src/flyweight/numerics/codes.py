"""The integers that b bits can hold."""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.core.errors import ShapeError


@dataclass(frozen=True)
class CodeRange:
    """The codes of ``bits`` bits: signed ``[−2^(b−1), 2^(b−1)−1]``, unsigned ``[0, 2^b−1]``.

    ``narrow`` drops the lowest signed code, so that the range is symmetric: ±(2^(b−1)−1), the rule for weights.
    Raises :class:`ShapeError` for bits outside 2 to 8, and for a narrow unsigned range.

    >>> CodeRange(8).low, CodeRange(8, narrow=True).low, CodeRange(4, signed=False).high
    (-128, -127, 15)
    """

    bits: int = 8
    signed: bool = True
    narrow: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise ShapeError(f"ShapeError: codes have 2 to 8 bits, and got {self.bits!r}. Choose one of 2, 3, … 8.")
        if self.narrow and not self.signed:
            raise ShapeError("ShapeError: a narrow range is a signed one, ±(2^(b−1)−1). Drop narrow, or signed=False.")

    @property
    def low(self) -> int:
        """The lowest code."""
        return (-(2 ** (self.bits - 1)) if self.signed else 0) + int(self.narrow)

    @property
    def high(self) -> int:
        """The highest code."""
        return int(2 ** (self.bits - 1) if self.signed else 2**self.bits) - 1
