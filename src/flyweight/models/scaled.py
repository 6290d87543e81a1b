"""How many channels a layer keeps at a width."""

from __future__ import annotations

from flyweight.core.errors import ShapeError


def scaled(count: int, width: float, multiple: int = 1) -> int:
    """``count · width`` to the nearest multiple of ``multiple``, never under one of them.

    Raises :class:`ShapeError` for a width that is not above 0.

    >>> scaled(64, 0.5), scaled(64, 0.001), scaled(192, 0.4, multiple=8)
    (32, 1, 80)
    """
    if not 0 < width < float("inf"):
        raise ShapeError(f"ShapeError: no layer can be {width} times as wide. Give a width above 0, such as 0.5.")
    # Half a multiple goes up: round() would send it to the even one, so widths would grow in unequal leaps.
    return max(1, int(count * width / multiple + 0.5)) * multiple
