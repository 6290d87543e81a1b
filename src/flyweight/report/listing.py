"""The report's lists: the table of all points, the candidates that failed, and the recipes of both."""

from __future__ import annotations

import json
from collections.abc import Sequence

from flyweight.core.point import Point
from flyweight.report.columns import COLUMNS, Cell, Column
from flyweight.report.markup import Markup, joined, section, tag
from flyweight.report.units import seconds
from flyweight.report.view import View, kind
from flyweight.report.words import words


def table(view: View) -> Markup:
    """Every finished point, sortable by every column."""
    if not view.shown:
        return section("points", "Points", tag("p", "No point was finished."))
    columns, absent = _columns(view)
    titles = [
        _heading("Point", "Label, identifier, and how its weights are stored"),
        *(_heading(*_titled(view, c)) for c in columns),
    ]
    rows = [_row(view, point, columns) for point in view.listed]
    whole = tag("table", tag("thead", tag("tr", *titles)), tag("tbody", *rows), class_="points")
    switch = tag(
        "label", tag("input", type="checkbox", id="only"), " only those on the frontier", class_="switch", hidden=True
    )
    notes = [tag("p", f"{column.title}: not measured: {why}", class_="note") for column, why in absent]
    hint = tag("span", " Choose a heading to sort.", class_="screen")
    lead = joined("● stands on the frontier. Changes and ratios are against the baseline.", hint)
    scroll = tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label="All points, a wide table")
    return section("points", "All points", switch, scroll, *notes, lead=lead)


def failures(view: View) -> Markup:
    """The candidates that failed, and those that were left out before training, each with its reason."""
    return joined(
        _reasons("failed", "Candidates that failed", view.failed),
        _reasons("left-out", "Candidates that were not trained", view.left_out),
    )


def _reasons(name: str, title: str, points: Sequence[Point]) -> Markup:
    if not points:
        return Markup("")
    items = [
        tag(
            "li",
            tag("strong", p.label),
            tag("p", p.failure or "", class_="reason"),
            tag("p", words(p.recipe), class_="words"),
        )
        for p in points
    ]
    return section(name, title, tag("ul", *items, class_="failed"))


def recipes(view: View) -> Markup:
    """How each point was made, in words, with the JSON to make it again."""
    items = [_recipe(view, p) for p in (*view.shown, *view.failed)]
    lead = "Each in words; open one for its JSON, which makes the same model again."
    return section("recipes", "Recipes", *items, lead=lead) if items else Markup("")


def anchor(view: View, point: Point) -> str:
    """The place of a point's recipe in the page."""
    every = [*view.shown, *view.failed]
    return f"point-{next(i for i, p in enumerate(every) if p is point)}"


def _columns(view: View) -> tuple[list[Column], list[tuple[Column, str]]]:
    """The columns that say something, and those that say the same of every point: not measured, and why."""
    kept, absent = [], []
    for column in COLUMNS:
        cells = [column.cell(view, p) for p in view.shown]
        reasons = {c.sub for c in cells}
        if all(c.sort is None for c in cells) and len(reasons) == 1 and cells[0].text == "not measured":
            absent.append((column, reasons.pop()))
        else:
            kept.append(column)
    return kept, absent


def _titled(view: View, column: Column) -> tuple[str, str]:
    unit = view.scale.difference if column.name == "change" else ""
    return column.title + (f" ({unit})" if unit else ""), column.note


def _heading(title: str, note: str) -> Markup:
    return tag(
        "th",
        tag("button", title, tag("span", class_="arrow", aria_hidden="true"), type="button"),
        scope="col",
        title=note,
    )


def _row(view: View, point: Point, columns: Sequence[Column]) -> Markup:
    stands = view.stands(point)
    mark = tag("span", "●" if stands else "○", class_="mark", title="on the frontier" if stands else "dominated")
    name = tag("a", point.label, href=f"#{anchor(view, point)}")
    badge = tag("span", kind(point) if point.bits in (8, 32) else f"{point.bits} bits", class_=f"kind {_slug(point)}")
    sparse = tag("span", "sparse kernels", class_="kind", title="; ".join(point.needs)) if point.needs else ""
    ident = tag("code", point.id[:8], title=point.id)
    first = tag(
        "th",
        tag("span", mark, name, class_="who"),
        tag("span", badge, sparse, ident, class_="sub"),
        scope="row",
        data_sort=point.label,
    )
    cells = [_cell(column.cell(view, point)) for column in columns]
    look = " ".join(filter(None, ("stands" if stands else "dominated", "baseline" if point is view.baseline else "")))
    return tag("tr", first, *cells, class_=look)


def _cell(cell: Cell) -> Markup:
    sub = tag("span", cell.sub, class_="sub") if cell.sub else ""
    missing = cell.sort is None and cell.text in ("not measured", "–")
    return tag(
        "td",
        tag("span", cell.text, class_="missing" if missing else "figure"),
        sub,
        data_sort="" if cell.sort is None else repr(cell.sort),
    )


def _recipe(view: View, point: Point) -> Markup:
    facts = [f"id {point.id}"]
    facts += [f"file {point.path}"] if point.path else []
    facts += [f"made and measured in {seconds(point.seconds)}"] if point.seconds is not None else []
    facts += [_parity(point)] if point.parity else []
    facts += [f"to open it: {need}" for need in point.needs]
    notes = tag("ul", *(tag("li", note) for note in point.notes)) if point.notes else ""
    text = json.dumps(point.recipe, indent=1, ensure_ascii=False, default=str)
    head = tag("summary", tag("strong", point.label), tag("span", words(point.recipe)))
    failed = tag("p", "failed", class_="warning") if point.failure is not None else ""
    told = tag("p", " · ".join(facts), class_="note")
    return tag(
        "details",
        head,
        failed,
        told,
        notes,
        tag("pre", text),
        id=anchor(view, point),
        class_="recipe",
        data_id=point.id,
    )


def _parity(point: Point) -> str:
    told, parity = [], point.parity
    if isinstance(parity.get("top1_equal"), int | float):
        told.append(f"{100 * parity['top1_equal']:.2f} % of classes equal")
    if isinstance(parity.get("max_steps"), int | float):
        told.append(f"at most {parity['max_steps']:g} output steps apart")
    elif isinstance(parity.get("max_abs"), int | float):
        told.append(f"at most {parity['max_abs']:.2g} apart")
    return f"file against model: {', '.join(told) or 'compared'}"


def _slug(point: Point) -> str:
    return kind(point).replace(" ", "-")
