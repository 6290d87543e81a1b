"""The report: one HTML file that needs nothing else, and the fragment that notebooks show."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from pathlib import Path

from flyweight.core.atomic import write_text
from flyweight.core.errors import MissingExtraError
from flyweight.core.frontier import Frontier
from flyweight.report.columns import COLUMNS
from flyweight.report.delivered import delivered
from flyweight.report.headline import headline
from flyweight.report.listing import failures, recipes, table
from flyweight.report.markup import Markup, joined, tag
from flyweight.report.method import machine, method
from flyweight.report.opening import FIGURES, figures, header
from flyweight.report.picture import draw
from flyweight.report.plot import plot
from flyweight.report.view import View

_PARTS = (
    ("frontier", "Frontier"),
    ("points", "Points"),
    ("failed", "Failed"),
    ("left-out", "Left out"),
    ("claims", "Claims"),
)
_MORE = (("recipes", "Recipes"), ("method", "Method"), ("machine", "Hardware"))
_FITS = 'style="max-width:100%;height:auto"'
_ROWS = 12
_FEW = ("select", "change", "size_bytes", "smaller", "latency_ms", "speedup")


def write(frontier: Frontier, path: Path) -> Path:
    """Writes the report to ``path``, whole or not at all, and returns it.

    It is made from the points' JSON alone. The file holds its scripts and styles, and forbids itself to load anything,
    so it opens offline; without scripts it still shows everything. Raises :class:`MissingExtraError` without plotly
    and :class:`StoreError` where ``path`` cannot be written.
    """
    path = Path(path)
    write_text(path, _page(frontier))
    return path


def fragment(frontier: Frontier) -> str:
    """A small piece of HTML for a notebook: the headline, a still picture, and a table of the first points."""
    view = View.of(frontier)
    columns = [c for c in COLUMNS if c.name in _FEW]
    cell = "padding:3px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid rgba(128,128,128,.25)"
    left = cell.replace("text-align:right", "text-align:left")
    heads = [tag("th", "Point", style=left, scope="col")] + [
        tag("th", c.title, style=cell, scope="col") for c in columns
    ]
    rows = [
        tag(
            "tr",
            tag("th", ("● " if view.stands(p) else "○ ") + p.label, style=left, scope="row"),
            *(tag("td", c.cell(view, p).text, style=cell) for c in columns),
            style=None if view.stands(p) else "opacity:.65",
        )
        for p in view.shown[:_ROWS]
    ]
    hidden = len(view.shown) - len(rows)
    rest = [f"{hidden} more points"] if hidden > 0 else []
    rest += [f"{len(view.failed)} failed"] if view.failed else []
    rest += [f"{len(view.left_out)} left out"] if view.left_out else []
    task = str(frontier.about.get("task") or "")
    return tag(
        "div",
        tag("p", tag("strong", headline(frontier)), f" · {task}" if task else "", style="margin:0 0 6px"),
        Markup(draw(frontier, frontier.costs[0] if frontier.costs else "size_bytes", 640, 360, "", _FITS))
        if rows
        else "",
        tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), style="border-collapse:collapse")
        if rows
        else "",
        tag("p", f"{' · '.join(rest)}: all in .report(path)", style="opacity:.7") if rest else "",
        style="overflow-x:auto;max-width:100%",
    )


def _page(frontier: Frontier) -> str:
    view = View.of(frontier)
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(
            "MissingExtraError: the report needs plotly, which is not installed. Run: pip install 'plotly>=7.1'"
        ) from error
    scripts = [get_plotlyjs(), _resource("page.js")] if view.shown else [_resource("page.js")]
    title = f"{frontier.about.get('task') or 'flyweight'}: {headline(frontier)}"
    body = [header(frontier, view)]
    if view.shown:
        body.append(figures(frontier, view, [plot(frontier, cost).to_json() for cost in FIGURES]))
    body += [table(view), failures(view)]
    if view.shown:
        body += [delivered(view)]
    body += [recipes(view), method(frontier, view) if view.shown else Markup(""), machine(frontier)]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        # Nothing may be loaded and no script may run but those written here, whatever a label holds.
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="flyweight"),
        tag("title", title),
        tag("style", Markup(_resource("page.css"))),
    )
    present = "".join(body)
    links = [
        tag("a", name, href=f"#{key}")
        for key, name in (*_PARTS, *_MORE)
        if f'<section id="{key}"' in present or f' id="{key}"' in present
    ]
    nav = tag("nav", *links, aria_label="Sections")
    main = tag("main", joined(*body))
    foot = tag(
        "footer",
        tag(
            "p",
            "Made by flyweight from the points’ JSON alone. Claims are counted; all else was measured on the files.",
        ),
    )
    ends = [tag("script", Markup(text)) for text in scripts]
    return "<!doctype html>\n" + tag("html", head, tag("body", nav, main, foot, *ends), lang="en")


def _policy(scripts: list[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _resource(name: str) -> str:
    return importlib.resources.files("flyweight.report").joinpath(name).read_text(encoding="utf-8")
