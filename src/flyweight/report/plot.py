"""The frontier as a plotly figure: quality against a cost, to look at closely."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from typing import Any

from flyweight.core.errors import MissingExtraError, unknown_name
from flyweight.core.footprint import COSTS
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.report.axes import Axes, bounds, log_ticks
from flyweight.report.picture import COLORS, tick
from flyweight.report.units import TITLES, amount, milliseconds, times
from flyweight.report.view import KINDS, View, kind, placed
from flyweight.report.words import words

_SYMBOLS = dict(zip(KINDS, ("circle", "diamond", "square"), strict=True))
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif"
_GRAY = "#8592a3"
_SUFFIX = {"bytes": "B", "ms": " ms", "mj": " mJ"}


def plot(frontier: Frontier, cost: str = "size_bytes") -> Any:
    """A plotly ``Figure``: quality on select, with its 95 % interval, against ``cost`` on a logarithmic axis.

    Points that no other beats in quality and ``cost`` are solid and joined by steps; those that stand on the run's
    frontier by another cost are hollow; dominated ones are faint; the baseline has a ring. Failed candidates and
    points whose ``cost`` was not measured are absent. Hovering tells the recipe in words and every figure. Raises
    :class:`UnknownNameError` for a ``cost`` that is no measured field.
    """
    if cost not in COSTS:
        raise unknown_name("measured field", cost, COSTS)
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise MissingExtraError(
            "MissingExtraError: a plot needs plotly, which is not installed. Run: pip install 'plotly>=7.1'"
        ) from error
    view = View.of(frontier)
    drawn, stairs = view.drawn(cost), view.stairs(cost)
    figure = go.Figure()
    if len(stairs) > 1:
        figure.add_scatter(
            x=[placed(p, cost) for p in stairs],
            y=[_height(view, p) for p in stairs],
            mode="lines",
            line={"shape": "hv", "color": _GRAY, "width": 1.5},
            hoverinfo="skip",
            showlegend=False,
        )
    on_stairs = frozenset(map(id, stairs))
    for form in ("faint", "hollow", "solid"):
        for name in KINDS:
            group = [p for p in drawn if kind(p) == name and _form(view, p, on_stairs) == form]
            if group:
                figure.add_trace(_markers(go, view, group, cost, name, form))
    # One entry a kind in the legend, the most solid one; choosing it hides or shows the kind whole.
    for name in KINDS:
        entries = [trace for trace in figure.data if trace.legendgroup == name]
        for trace in entries:
            trace.showlegend = trace is entries[-1]
    if view.baseline is not None and any(p is view.baseline for p in drawn):
        figure.add_scatter(
            x=[placed(view.baseline, cost)],
            y=[_height(view, view.baseline)],
            mode="markers",
            marker={"symbol": "circle-open", "size": 19, "color": _GRAY, "line": {"width": 1.6}},
            hoverinfo="skip",
            name="baseline",
            legendrank=len(KINDS),
        )
    _dress(figure, view, cost, bool(drawn))
    return figure


def hover(view: View, point: Point) -> str:
    """What hovering over ``point`` tells, in plotly's pseudo-HTML; whatever a user wrote is escaped."""
    print_, scale = point.footprint, view.scale
    lines = [f"<b>{escape(point.label)}</b>", *map(escape, textwrap.wrap(words(point.recipe), 62)), ""]
    lines.append(f"Quality, select: {scale.show(point.quality)} ({scale.interval(point.quality)})")
    if point.report is not None:
        lines.append(f"Quality, report: {scale.show(point.report)} ({scale.interval(point.report)})")
    base = None if view.baseline is None else view.baseline.footprint.size_bytes
    smaller = f", {times(base / print_.size_bytes)} smaller" if base and print_.size_bytes else ""
    lines.append(f"File: {amount(print_.size_bytes)}{smaller}")
    if print_.latency_ms is None:
        lines.append("Latency: not measured")
    else:
        lines.append(f"Latency: {milliseconds(print_.latency_ms)}")
        lines[-1] += "" if print_.speedup is None else f", {times(print_.speedup)} faster"
    return "<br>".join(lines)


def _form(view: View, point: Point, stairs: frozenset[int]) -> str:
    if id(point) in stairs:
        return "solid"
    return "hollow" if view.stands(point) else "faint"


def _markers(go: Any, view: View, group: Sequence[Point], cost: str, name: str, form: str) -> Any:
    color = COLORS[name]
    symbol = _SYMBOLS[name] + ("-open" if form == "hollow" else "")
    heights = [_height(view, p) for p in group]
    spans = [tuple(map(view.scale.value, bounds(p))) for p in group]
    return go.Scatter(
        x=[placed(p, cost) for p in group],
        y=heights,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - y for (_, high), y in zip(spans, heights, strict=True)],
            "arrayminus": [y - low for (low, _), y in zip(spans, heights, strict=True)],
            "color": _faded(color, 0.22 if form == "faint" else 0.6),
            "thickness": 1.2,
            "width": 3,
        },
        mode="markers",
        marker={"symbol": symbol, "size": 11, "color": color, "line": {"width": 1.6 if form == "hollow" else 0}},
        opacity=0.38 if form == "faint" else 1,
        name=name,
        legendgroup=name,
        legendrank=KINDS.index(name),
        hovertext=[hover(view, p) for p in group],
        hoverinfo="text",
        customdata=[p.id for p in group],
    )


def _dress(figure: Any, view: View, cost: str, any_drawn: bool) -> None:
    from math import log10

    axes = Axes.of(view, cost)
    unit = f" ({view.scale.unit})" if view.scale.unit else ""
    line = {"gridcolor": _faded(_GRAY, 0.22), "linecolor": _GRAY, "zeroline": False, "ticks": "outside"}
    line["tickcolor"] = _faded(_GRAY, 0.5)
    ticks = log_ticks(*axes.cost, most=8)
    suffix = _SUFFIX.get(cost.rpartition("_")[2], "")
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": _FONT, "size": 12.5},
        margin={"l": 64, "r": 18, "t": 12, "b": 52},
        hoverlabel={"align": "left", "font": {"family": _FONT, "size": 12.5}},
        legend={"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": _GRAY},
        xaxis={
            **line,
            "type": "log",
            "title": {"text": f"{TITLES[cost]}, logarithmic", "font": {"size": 12.5}},
            "range": [log10(v) for v in axes.cost],
            "tickvals": ticks,
            "tickangle": 0,
            "ticktext": [tick(cost, t) for t in ticks],
            "tickformat": "~s" if suffix in ("B", "") else "~r",
            "ticksuffix": suffix,
        },
        yaxis={
            **line,
            "title": {"text": f"Quality on select{unit}", "font": {"size": 12.5}, "standoff": 12},
            "automargin": True,  # labels of any width, and the title beside them
            "range": [view.scale.value(v) for v in axes.quality],
        },
    )
    if not any_drawn:
        text = f"{TITLES[cost]}: nothing was measured"
        figure.add_annotation(text=text, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)


def _height(view: View, point: Point) -> float:
    assert point.quality is not None
    return view.scale.value(point.quality.value)


def _faded(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
