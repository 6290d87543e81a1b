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
from flyweight.report.scale import change
from flyweight.report.units import MISSING
from flyweight.report.view import View
from flyweight.report.words import words

_NARROW, _WIDE = 100, 140
_SHOWN = ("select", "report", "change", "size_bytes", "smaller", "latency_ms", "speedup", "peak_memory_bytes")
_SHORT = {"change": "Change", "size_bytes": "Bytes", "peak_memory_bytes": "Memory"}


def text(frontier: Frontier, color: bool | None = None, width: int | None = None) -> str:
    """The points as an aligned table, 100 to 140 columns wide, with the failed candidates and their reasons below.

    ``color`` None colours for a terminal, and never where ``NO_COLOR`` is set.
    """
    from rich.console import Console
    from rich.text import Text

    view = View.of(frontier)
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(_NARROW, min(_WIDE, width or shutil.get_terminal_size((120, 40)).columns)),
        force_terminal=_colored() if color is None else color,
        no_color=not (_colored() if color is None else color),
        color_system="standard" if (_colored() if color is None else color) else None,
        highlight=False,
        legacy_windows=False,
    )
    console.print(Text(_heading(frontier, view), style="bold"))
    if view.shown:
        console.print(_grid(view))
        console.print(Text(_legend(view), style="dim"))
    for point in view.failed:
        reason = " ".join((point.failure or "").split())
        console.print(Text.assemble(("✗ ", "red"), (point.label, "bold"), (f"  failed: {reason}", "")))
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
    rows = [_row(view, point) for point in (*view.shown, *view.failed)]
    return pd.DataFrame(rows, columns=list(_row(view, Point(id="", label=""))))


def _colored() -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def _heading(frontier: Frontier, view: View) -> str:
    task = str(frontier.about.get("task", "") or "").strip()
    counted = f"{len(view.optimal)} of {len(view.shown)} points on the frontier"
    failed = f", {len(view.failed)} failed" if view.failed else ""
    return f"{task + ': ' if task else ''}{counted}{failed}"


def _grid(view: View) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("", width=1)
    table.add_column("Point", overflow="ellipsis", no_wrap=True, min_width=12, ratio=None)
    shown = [c for c in COLUMNS if c.name in _SHOWN]
    for column in shown:
        unit = f" ({view.scale.unit})" if column.name in ("select", "report") and view.scale.unit else ""
        unit = f" ({view.scale.difference})" if column.name == "change" and view.scale.difference else unit
        table.add_column(_SHORT.get(column.name, column.title) + unit, justify="right", no_wrap=column.name != "change")
    for point in view.shown:
        stands = view.stands(point)
        mark = Text("●" if stands else "·", style="green" if stands else "")
        name = Text(point.label, style="bold" if stands else "")
        cells = [_plain(view, point, column.name) for column in shown]
        table.add_row(mark, name, *map(Text, cells), style="" if stands else "dim")
    return table


def _plain(view: View, point: Point, name: str) -> str:
    if name in ("select", "report"):
        score: Score | None = point.quality if name == "select" else point.report
        return MISSING if score is None else f"{view.scale.bare(score.value)} [{view.scale.interval(score)}]"
    found = next(c for c in COLUMNS if c.name == name).cell(view, point)
    return MISSING if found.text == "not measured" else found.text


def _legend(view: View) -> str:
    against = "Change, Smaller and Faster are against the baseline. " if view.baseline else "No baseline was measured. "
    return f"● on the frontier, · dominated; [95 % interval]. {against}{MISSING} not measured."


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
    row |= {"path": point.path, "made_in_seconds": point.seconds, "failure": point.failure}
    return row
