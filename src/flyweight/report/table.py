"""The frontier as a table: for the terminal, and as a pandas DataFrame."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import Any

from flyweight.core.errors import MissingExtraError
from flyweight.core.footprint import COSTS
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point, Score
from flyweight.report.columns import COLUMNS
from flyweight.report.excuses import excuses
from flyweight.report.scale import change
from flyweight.report.units import MISSING
from flyweight.report.view import View
from flyweight.report.words import words

_NARROW, _WIDE = 100, 140
_TITLES = {
    "select": "Select",
    "report": "Report",
    "change": "Change",
    "size_bytes": "Bytes",
    "smaller": "Smaller",
    "latency_ms": "Latency",
    "speedup": "Faster",
    "peak_memory_bytes": "Memory",
    "load_ms": "Load",
    "energy_mj": "Energy",
}
_DROPPED = ("load_ms", "peak_memory_bytes", "select interval", "report interval", "smaller")
"""What goes first where the table is too wide; the HTML report has it all."""
_NEEDY = "‡"
_LABEL = 14
_GAP = 2


def text(frontier: Frontier, color: bool | None = None, width: int | None = None) -> str:
    """The points as an aligned table, 100 to 140 columns wide, with the candidates that failed or were left out below.

    ``color`` None colours for a terminal, and never where ``NO_COLOR`` is set.
    """
    from rich.console import Console
    from rich.text import Text

    view = View.of(frontier)
    out = io.StringIO()
    colored = _colored() if color is None else color
    space = max(_NARROW, min(_WIDE, width or shutil.get_terminal_size((120, 40)).columns))
    console = Console(
        file=out,
        width=space,
        force_terminal=colored,
        no_color=not colored,
        color_system="standard" if colored else None,
        highlight=False,
        legacy_windows=False,
    )
    console.print(Text(_heading(frontier, view), style="bold"))
    if view.shown:
        console.print()
        console.print(_grid(view, space))
        console.print()
        console.print(Text(_legend(view), style="dim"))
        for need in dict.fromkeys(need for p in view.shown for need in p.needs):
            console.print(Text(f"{_NEEDY} needs {need}; the plain file stands beside it", style="dim"))
        for told in excuses(frontier):
            console.print(Text(told))
    for point in view.failed:
        reason = " ".join((point.failure or "").split())
        console.print(Text.assemble(("✗ ", "red"), (point.label, "bold"), (f"  failed: {reason}", "")))
    for point in view.left_out:
        console.print(Text(f"· {point.label}  {' '.join((point.failure or '').split())}", style="dim"))
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def dataframe(frontier: Frontier) -> Any:
    """A pandas DataFrame, one row a point, the failed ones too; a column names its unit, NaN is "not measured".

    Raises :class:`MissingExtraError` without pandas.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError(
            "MissingExtraError: to_dataframe needs pandas, which is not installed. Run: pip install pandas"
        ) from error
    view = View.of(frontier)
    rows = [_row(view, point) for point in (*view.shown, *view.failed, *view.left_out)]
    table = pd.DataFrame(rows, columns=list(_row(view, Point(id="", label=""))))
    return table.astype(dict.fromkeys(COSTS, float))


def _colored() -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def _named(point: Point, width: int | None = None) -> str:
    """The label, of at most ``width`` characters: its end goes, and the mark behind it stays."""
    mark = f" {_NEEDY}" if point.needs else ""
    short = point.label
    if width is not None and len(short) + len(mark) > width:
        short = f"{short[: max(1, width - len(mark) - 1)]}…"
    return f"{short}{mark}"


def _heading(frontier: Frontier, view: View) -> str:
    task = str(frontier.about.get("task", "") or "").strip()
    counted = f"{len(view.optimal)} of {len(view.shown)} points on the frontier" if view.shown else "no point yet"
    failed = f", {len(view.failed)} failed" if view.failed else ""
    left = f", {len(view.left_out)} left out" if view.left_out else ""
    return f"{task + ': ' if task else ''}{counted}{failed}{left}"


def _grid(view: View, space: int) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    label = max((len(_named(p)) for p in view.shown), default=0)
    columns = _fitting(view, space, min(label, 2 * _LABEL))
    taken = 1 + _GAP + sum(_GAP + max(map(len, column)) for column in columns)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    table.add_column("", width=1)
    width = max(_LABEL, min(label, space - taken))
    table.add_column("Point", overflow="ellipsis", no_wrap=True, width=width)
    for column in columns:
        table.add_column(column[0], justify="right", no_wrap=True, width=max(map(len, column)))
    for index, point in enumerate(view.listed, start=1):
        stands = view.stands(point)
        mark = Text("●" if stands else "·", style="green" if stands else "")
        name = Text(_named(point, width), style="bold" if stands else "")
        look = "" if stands or point is view.baseline else "dim"
        table.add_row(mark, name, *(Text(column[index]) for column in columns), style=look)
    return table


def _fitting(view: View, space: int, label: int) -> list[list[str]]:
    """The columns as texts, the heading first: those of no figure are left out, then as many as do not fit."""
    wanted = [name for name in _TITLES if any(_plain(view, p, name, True) != MISSING for p in view.shown)]
    for dropped in range(len(_DROPPED) + 1):
        gone = _DROPPED[:dropped]
        columns = [
            [
                _titled(view, name),
                *(_plain(view, p, name, f"{name} interval" not in gone) for p in view.listed),
            ]
            for name in wanted
            if name not in gone
        ]
        if 3 + label + sum(_GAP + max(map(len, column)) for column in columns) <= space:
            break
    return columns


def _titled(view: View, name: str) -> str:
    unit = {"select": view.scale.unit, "report": view.scale.unit}.get(name, "")
    return _TITLES[name] + (f" ({unit})" if unit else "")


def _plain(view: View, point: Point, name: str, whole: bool) -> str:
    if name in ("select", "report"):
        score: Score | None = point.quality if name == "select" else point.report
        if score is None:
            return MISSING
        return view.scale.bare(score.value) + (
            f" [{view.scale.bare(score.low)}, {view.scale.bare(score.high)}]" if whole else ""
        )
    found = next(c for c in COLUMNS if c.name == name).cell(view, point)
    return MISSING if found.text == "not measured" else found.text


def _legend(view: View) -> str:
    unit = f" ({view.scale.difference})" if view.scale.difference else ""
    against = (
        f"Change{unit}, Smaller and Faster are against the baseline. "
        if view.baseline
        else "No baseline was measured. "
    )
    return f"● on the frontier, · dominated; quality on two splits [95 % interval]. {against}{MISSING} not measured."


def _row(view: View, point: Point) -> dict[str, Any]:
    unit, step = ("percent", "points") if view.scale.percent else ("", "")
    row: dict[str, Any] = {"id": point.id, "label": point.label, "recipe": words(point.recipe)}
    row |= {"baseline": point.baseline, "on_frontier": view.stands(point), "format": point.format, "bits": point.bits}
    for name, score in (("quality", point.quality), ("report_quality", point.report)):
        for part in ("value", "low", "high"):
            title = "_".join(filter(None, (name, "" if part == "value" else part, unit)))
            row[title] = None if score is None else view.scale.value(getattr(score, part))
        row[f"{name}_examples"] = None if score is None else score.examples
    value, split = change(point, view.baseline)
    row["_".join(filter(None, ("change", step)))] = None if value is None else view.scale.value(value)
    row["change_split"] = split or None
    row |= {name: point.value(name) for name in COSTS}
    smaller = next(c for c in COLUMNS if c.name == "smaller").cell(view, point).sort
    row |= {"smaller_times": smaller, "speedup_times": point.footprint.speedup}
    row |= {
        "path": point.path,
        "needs": "; ".join(point.needs) or None,
        "made_in_seconds": point.seconds,
        "failure": point.failure,
    }
    return row
