"""The head of the report: the result in words, the trade-offs worth taking, and the frontier to look at."""

from __future__ import annotations

from collections.abc import Sequence

from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.report.axes import Axes
from flyweight.report.excuses import excuses
from flyweight.report.headline import headline, picks
from flyweight.report.listing import anchor
from flyweight.report.markup import Markup, data, joined, section, tag
from flyweight.report.picture import draw
from flyweight.report.units import TITLES
from flyweight.report.view import View

FIGURES = ("size_bytes", "latency_ms")
_ENDS = {"time limit": "stopped by its time limit", "interrupted": "interrupted: this is what it had so far"}

_RULE = "Chosen on the select split, told by the report split: there, by chance, another point may be ahead."


def header(frontier: Frontier, view: View) -> Markup:
    """The result in words, and the trade-offs worth taking as cards."""
    about = frontier.about
    task = str(about.get("task") or "").strip()
    counted = [f"{len(view.shown)} point{'' if len(view.shown) == 1 else 's'}", f"{len(view.optimal)} on the frontier"]
    counted += [f"{len(view.failed)} failed"] if view.failed else []
    counted += [f"{len(view.left_out)} left out"] if view.left_out else []
    ended = str(about.get("ended") or "").replace("T", " ").replace("+00:00", " UTC")
    counted += [ended] if ended else []
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
        *(tag("p", told, class_="warning") for told in _warnings(frontier)),
        tag("div", *cards, class_="cards") if cards else "",
        tag("p", _RULE, class_="note") if any(pick.point.report for pick in picks(frontier)) else "",
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
    lead = joined(
        "Solid points are best at their cost and joined by steps; hollow ones are best in another cost; faint ones "
        "are dominated. Bars are 95 % intervals on the select split.",
        tag("span", " Hover for a recipe, click to see more; drag to zoom, double-click to see all.", class_="screen"),
    )
    return section("frontier", "The frontier", tag("div", *drawn, class_="figures"), lead=lead)


def _warnings(frontier: Frontier) -> list[str]:
    """What a reader has to know of the search's end: that it was cut short, and what of its budgets was not met."""
    end = _ENDS.get(str(frontier.about.get("end")), "")
    _, why = frontier.asked()
    unmet = why.partition("; ")[2] or why  # the headline tells what comes before
    told = [f"The search was {end}." if end else "", unmet[:1].upper() + unmet[1:], *excuses(frontier)]
    return [text for text in told if text]


def _cards(frontier: Frontier) -> list[tuple[str, list[str], Point, str]]:
    """A card a point: what it was picked for, what it gains, and what it is like."""
    found: dict[int, tuple[list[str], list[str], Point, str]] = {}
    for pick in picks(frontier):
        names, gains, _, _ = found.setdefault(id(pick.point), ([], [], pick.point, pick.told))
        names.append(pick.name)
        gains.append(pick.gain)
    return [(" and ".join(n).capitalize(), g, point, told) for n, g, point, told in found.values()]
