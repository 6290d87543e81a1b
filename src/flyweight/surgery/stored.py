"""The stored forms of a weight: the one vocabulary that techniques write and exporters read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class StoredForm:
    """How a weight is kept in a file; one of the classes below."""


@dataclass(frozen=True, eq=False)
class Dense(StoredForm):
    """The values themselves, float32."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Codes(StoredForm):
    """Integers on a grid: weight = scale · codes, with zero point 0.

    ``codes`` is int8 in the weight's shape, within ±(2^(bits−1) − 1). ``scale`` is float32: one value, or one for each
    index along ``axis``, or, where ``group`` is given, ``(channels, groups)``: one for each ``group`` values that
    follow one another in the channel's flattened inputs.
    """

    codes: Tensor
    scale: Tensor
    bits: int
    axis: int | None = None
    group: int | None = None


@dataclass(frozen=True, eq=False)
class Blocks(StoredForm):
    """A form of which some elements are zero for good, so that they need not be kept.

    ``keep`` is bool, in the weight's shape; the rest of ``values`` is zero. ``block`` is the tile (rows, columns) of
    the weight as a matrix ``(outputs, inputs · kernel)`` in which elements were taken away; tiles at the lower and the
    right edge may be cut short.
    """

    values: StoredForm
    keep: Tensor
    block: tuple[int, int] = (1, 1)
