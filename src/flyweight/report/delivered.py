"""The report's section on what was claimed and what was delivered, point by point."""

from __future__ import annotations

import math

from flyweight.core.point import Point
from flyweight.report.claims import Parting, claims
from flyweight.report.markup import Markup, section, tag
from flyweight.report.units import number, share, times
from flyweight.report.view import View

_MANY = 0.1
"""Of the weights: fewer zeros than these change nothing."""


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
        "multiply-accumulates (MACs), zeros that could be skipped. Delivered is what was measured on the file. Where "
        "they part by more than a tenth, the facts that were measured say why. Every ratio is the baseline's over the "
        "point's: more is better."
    )
    nothing = tag("p", "There is no point beside the baseline.") if not others else ""
    return section("claims", "Claimed against delivered", nothing, *stand, *more, lead=lead)


def _claim(point: Point, base: Point, most: float) -> Markup:
    found = claims(point, base)
    claimed, got = found.claimed, found.delivered
    chips = [
        _chip(claimed["parameters"], "fewer parameters", "more parameters", "as many parameters"),
        _chip(claimed["bits"], "fewer bits a weight", "more bits a weight", "as many bits a weight"),
        _chip(claimed["macs"], "fewer MACs", "more MACs", "as many MACs"),
        _chip(got["gzip"], "smaller gzipped", "larger gzipped", "as large gzipped"),
    ]
    zeros = number(point.footprint.detail.get("zero_share"))
    if zeros is not None and zeros >= _MANY:
        chips.append(tag("span", tag("b", share(zeros)), " of the weights are zeros"))
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
