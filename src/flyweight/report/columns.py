"""The columns of a table of points: what each cell says, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flyweight.core.point import Point
from flyweight.report.scale import change
from flyweight.report.units import MISSING, TITLES, cost, milliseconds, times
from flyweight.report.view import View


@dataclass(frozen=True)
class Cell:
    """``text`` is the figure, ``sub`` what belongs to it (an interval, a reason), ``sort`` the number behind it."""

    text: str
    sub: str = ""
    sort: float | None = None


@dataclass(frozen=True)
class Column:
    """A column: ``title`` heads it, ``note`` explains it in a sentence, ``cell`` reads a point."""

    name: str
    title: str
    note: str
    cell: Callable[[View, Point], Cell]


def _select(view: View, point: Point) -> Cell:
    value = None if point.quality is None else point.quality.value
    return Cell(view.scale.show(point.quality), view.scale.interval(point.quality), value)


def _report(view: View, point: Point) -> Cell:
    if point.report is None:
        return Cell(MISSING, "not measured")
    return Cell(view.scale.show(point.report), view.scale.interval(point.report), point.report.value)


def _change(view: View, point: Point) -> Cell:
    value, split = change(point, view.baseline)
    if point is view.baseline:
        return Cell("baseline", "", value)
    return Cell(view.scale.change(value), f"on {split}" if split else "", value)


def _smaller(view: View, point: Point) -> Cell:
    mine = point.footprint.size_bytes
    base = None if view.baseline is None else view.baseline.footprint.size_bytes
    ratio = base / mine if base and mine else None
    return Cell(times(ratio), "", ratio)


def _latency(view: View, point: Point) -> Cell:
    found = _measured("latency_ms")(view, point)
    spread = point.footprint.latency_iqr_ms
    return (
        found if found.sort is None or spread is None else Cell(found.text, f"IQR {milliseconds(spread)}", found.sort)
    )


def _speedup(view: View, point: Point) -> Cell:
    value = point.footprint.speedup
    return Cell(times(value), "", value) if value is not None else Cell(MISSING, point.footprint.why.get("speedup", ""))


def _measured(name: str) -> Callable[[View, Point], Cell]:
    def cell(view: View, point: Point) -> Cell:
        value = point.value(name)
        if value is not None:
            return Cell(cost(name, value), "", value)
        why = point.footprint.why.get(name, "no reason was kept")
        return Cell("not measured", why)

    return cell


COLUMNS = (
    Column("select", "Quality, select", "On the split that choices were made on, with its 95 % interval", _select),
    Column("report", "Quality, report", "On the split that was read once, at the end, with its 95 % interval", _report),
    Column("change", "Against baseline", "Quality less the baseline's on the same split", _change),
    Column("size_bytes", TITLES["size_bytes"], "Bytes of the file; a KB is 1000 bytes", _measured("size_bytes")),
    Column("smaller", "Smaller", "The baseline's bytes over this one's", _smaller),
    Column("latency_ms", "Latency", "Median of a call with its interquartile range", _latency),
    Column("speedup", "Faster", "The baseline's median over this one's, measured interleaved in one run", _speedup),
    Column(
        "peak_memory_bytes",
        TITLES["peak_memory_bytes"],
        "Over the process with the runtime imported and nothing opened",
        _measured("peak_memory_bytes"),
    ),
    Column("load_ms", "Load", "Opening the file", _measured("load_ms")),
    Column("energy_mj", "Energy", "A call's, by a counter of the machine; never estimated", _measured("energy_mj")),
)
