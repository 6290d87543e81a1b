"""The sections of the report that tell of points: what came of them, what they cost, what failed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.report.axes import Axes
from flyweight.report.claims import Parting, claims
from flyweight.report.columns import COLUMNS, Cell, Column
from flyweight.report.headline import headline, picks
from flyweight.report.markup import Markup, data, tag
from flyweight.report.picture import draw
from flyweight.report.units import TITLES, seconds, times
from flyweight.report.view import View, kind
from flyweight.report.words import words

FIGURES = ("size_bytes", "latency_ms")
_ENDS = {"time limit": "stopped by its time limit", "interrupted": "interrupted: this is what it had so far"}


def section(name: str, title: str, *children: str, lead: str = "") -> Markup:
    """A section with its heading; ``lead`` explains it in a sentence."""
    head = tag("h2", title, id=f"{name}-title")
    return tag(
        "section",
        head,
        tag("p", lead, class_="lead") if lead else "",
        *children,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def header(frontier: Frontier, view: View) -> Markup:
    """The result in words, and the trade-offs worth taking as cards."""
    about = frontier.about
    task = str(about.get("task") or "").strip()
    counted = [f"{len(view.shown)} point{'' if len(view.shown) == 1 else 's'}", f"{len(view.optimal)} on the frontier"]
    counted += [f"{len(view.failed)} failed"] if view.failed else []
    ended = str(about.get("ended") or "").replace("T", " ").replace("+00:00", " UTC")
    counted += [ended] if ended else []
    end = _ENDS.get(str(about.get("end")), "")
    cards = [
        tag(
            "a",
            tag("span", name, class_="name"),
            *(tag("strong", gain) for gain in gains),
            tag("span", point.label, class_="label"),
            tag("span", told, class_="told"),
            class_="card",
            href=f"#{anchor(view, point)}",
        )
        for name, gains, point, told in _cards(frontier)
    ]
    return tag(
        "header",
        tag("p", "flyweight", tag("span", task) if task else "", class_="eyebrow"),
        tag("h1", headline(frontier)),
        tag("p", " · ".join(counted), class_="counted"),
        tag("p", f"The search was {end}.", class_="warning") if end else "",
        tag("div", *cards, class_="cards") if cards else "",
    )


def figures(frontier: Frontier, view: View, plots: Sequence[str]) -> Markup:
    """Quality against bytes and against latency: still pictures, which the page's script makes live."""
    drawn = []
    for cost, plot in zip(FIGURES, plots, strict=True):
        still = Markup(draw(frontier, cost, 620, 400))
        missing = len(view.shown) - len(view.drawn(cost))
        below = sum(map(Axes.of(view, cost).below, view.drawn(cost)))
        hidden = f" Below this range: {below} dominated." if below else ""
        note = f" Not measured, so not here: {missing} of {len(view.shown)} points." if missing else ""
        drawn.append(
            tag(
                "figure",
                tag("h3", f"Quality against {TITLES[cost].lower()}"),
                tag("div", still, class_="still"),
                tag(
                    "div", class_="live", role="img", aria_label=f"Quality against {TITLES[cost].lower()}, interactive"
                ),
                tag("script", data(plot), type="application/json"),
                tag("figcaption", f"Up and to the left is better.{hidden}{note}"),
            )
        )
    lead = (
        "Solid points are best at their cost and joined by steps; hollow ones are best in another cost; faint ones "
        "are dominated. Bars are 95 % intervals on the select split. Hover over a point for its recipe, click it to "
        "see more; drag to zoom, double-click to see all."
    )
    return section("frontier", "The frontier", tag("div", *drawn, class_="figures"), lead=lead)


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
    lead = "Choose a heading to sort. ● stands on the frontier. Changes and ratios are against the baseline."
    scroll = tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label="All points, a wide table")
    return section("points", "All points", switch, scroll, *notes, lead=lead)


def failures(view: View) -> Markup:
    """The candidates that failed, each with its reason."""
    if not view.failed:
        return Markup("")
    items = [
        tag(
            "li",
            tag("strong", p.label),
            tag("p", p.failure or "", class_="reason"),
            tag("p", words(p.recipe), class_="words"),
        )
        for p in view.failed
    ]
    return section("failed", "Candidates that failed", tag("ul", *items, class_="failed"))


def delivered(view: View) -> Markup:
    """Claimed against delivered, for every point but the baseline."""
    base = view.baseline
    if base is None:
        told = tag("p", "There is no baseline, so nothing is claimed.")
        return section("claims", "Claimed against delivered", told)
    others = [p for p in view.shown if p is not base]
    most = max(
        (v for p in others for part in claims(p, base).partings for v in (part.claimed, part.delivered) if v),
        default=1.0,
    )
    stand = [_claim(p, base, most) for p in others if view.stands(p)]
    rest = [_claim(p, base, most) for p in others if not view.stands(p)]
    more = (
        [
            tag(
                "details",
                tag("summary", f"{len(rest)} dominated point{'' if len(rest) == 1 else 's'}"),
                *rest,
                class_="more",
            )
        ]
        if rest
        else []
    )
    lead = (
        "Claimed is what counting promises over the baseline: fewer parameters, narrower weights, fewer "
        "multiply-accumulates (MACs). Delivered is what was measured on the file. Where they part by more than a "
        "tenth, the facts that were measured say why. Every ratio is the baseline's over the point's: more is better."
    )
    nothing = tag("p", "There is no point beside the baseline.") if not others else ""
    return section("claims", "Claimed against delivered", nothing, *stand, *more, lead=lead)


def recipes(view: View) -> Markup:
    """How each point was made, in words, with the JSON to make it again."""
    items = [_recipe(view, p) for p in (*view.shown, *view.failed)]
    lead = "Each in words; open one for its JSON, which makes the same model again."
    return section("recipes", "Recipes", *items, lead=lead) if items else Markup("")


def anchor(view: View, point: Point) -> str:
    """The place of a point's recipe in the page."""
    every = [*view.shown, *view.failed]
    return f"point-{next(i for i, p in enumerate(every) if p is point)}"


def _cards(frontier: Frontier) -> list[tuple[str, list[str], Point, str]]:
    """A card a point: what it was picked for, what it gains, and what it is like."""
    found: dict[int, tuple[list[str], list[str], Point, str]] = {}
    for pick in picks(frontier):
        names, gains, _, _ = found.setdefault(id(pick.point), ([], [], pick.point, pick.told))
        names.append(pick.name)
        gains.append(pick.gain)
    return [(" and ".join(n).capitalize(), g, point, told) for n, g, point, told in found.values()]


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
    ident = tag("code", point.id[:8], title=point.id)
    first = tag(
        "th",
        tag("span", mark, name, class_="who"),
        tag("span", badge, ident, class_="sub"),
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


def _claim(point: Point, base: Point, most: float) -> Markup:
    found = claims(point, base)
    claimed, got = found.claimed, found.delivered
    chips = [
        _chip(claimed["parameters"], "fewer parameters", "more parameters", "as many parameters"),
        _chip(claimed["bits"], "fewer bits a weight", "more bits a weight", "as many bits a weight"),
        _chip(claimed["macs"], "fewer MACs", "more MACs", "as many MACs"),
        _chip(got["gzip"], "smaller gzipped", "larger gzipped", "as large gzipped"),
    ]
    head = tag("div", tag("h3", point.label), tag("p", *chips, class_="chips"))
    return tag(
        "article", head, tag("div", *(_parting(p, most) for p in found.partings), class_="partings"), class_="claim"
    )


def _chip(value: float | None, over: str, under: str, same: str) -> Markup:
    if value is None:
        return tag("span", f"{over}: not measured")
    if abs(value - 1) < 0.005:
        return tag("span", same)
    return tag("span", tag("b", times(max(value, 1 / value))), f" {over if value > 1 else under}")


def _parting(part: Parting, most: float) -> Markup:
    head = tag("h4", part.what.capitalize(), tag("span", f"claim: {part.claim}"))
    bars = tag("div", _bar("claimed", part.claimed, most), _bar("delivered", part.delivered, most), class_="bars")
    why = tag("ul", *(tag("li", reason) for reason in part.reasons), class_="why") if part.reasons else ""
    return tag("div", head, bars, why, class_="parting apart" if part.apart else "parting")


def _bar(look: str, value: float | None, most: float) -> Markup:
    if value is None:
        return tag("p", tag("span", look), tag("span", "not measured", class_="none"), class_=look)
    part = max(0.0, math.log(value) / math.log(most)) if value > 0 and most > 1 else 0.0
    track = tag("span", tag("i", style=f"width:{max(1.0, 100 * part):.1f}%"), class_="track", aria_hidden="true")
    return tag("p", tag("span", look), track, tag("b", times(value)), class_=look)


def _recipe(view: View, point: Point) -> Markup:
    facts = [f"id {point.id}"]
    facts += [f"file {point.path}"] if point.path else []
    facts += [f"made and measured in {seconds(point.seconds)}"] if point.seconds is not None else []
    facts += [_parity(point)] if point.parity else []
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
