"""What a point on the sparse kernels gains, and where the rest of the theoretical gain stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flyweight.core.point import Point
from flyweight.report.units import number, share

SKIPPING = ("SparseConv", "SparseLinear", "SparseBlock", "QSparseConv", "QNetwork", "Network")
"""The operations that skip zeros, by the names in a file and in its profile."""

_TELLING = 0.1
_NAMED = 3


def reasons_kernels(point: Point, claimed: float | None, delivered: float | None) -> tuple[str, ...]:
    """Why a point whose layers skip zeros is not as much faster as it has fewer multiply-accumulates: the time outside
    those layers, and the layers of zeros that stayed dense. None for other points."""
    if not point.needs or claimed is None or delivered is None or delivered >= claimed:
        return ()
    return (*_outside(point), *(f"{note[:1].upper()}{note[1:]}" for note in point.notes if note.startswith("dense, ")))


def _outside(point: Point) -> Iterable[str]:
    timed = point.footprint.detail.get("time_by_op")
    if not isinstance(timed, Mapping):
        return
    shares = {str(op): value for op, v in timed.items() if (value := number(v)) is not None and value > 0}
    total = sum(shares.values())
    rest = {op: value / total for op, value in shares.items() if op not in SKIPPING}
    if not total or sum(rest.values()) < _TELLING:
        return
    first = sorted(rest.items(), key=lambda item: -item[1])
    named = ", ".join(f"{op} {share(part)}" for op, part in first[:_NAMED])
    more = ", …" if len(first) > _NAMED else ""
    yield (
        f"{share(sum(rest.values()))} of its time passes outside the layers that skip zeros ({named}{more}): fewer "
        "multiply-accumulates do not shorten that"
    )
