"""A still picture of a frontier, as SVG written by ourselves: no browser, no plotting library."""

from __future__ import annotations

import itertools
import math
from html import escape

from flyweight.core.errors import unknown_name
from flyweight.core.footprint import COSTS
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.report.axes import Axes, bounds, decimals, even_ticks, log_ticks
from flyweight.report.labels import Box, place, text_width
from flyweight.report.units import TITLES
from flyweight.report.units import cost as shown_cost
from flyweight.report.view import KINDS, View, kind, placed

COLORS = dict(zip(KINDS, ("#3d7ee0", "#e2711d", "#1f9e89"), strict=True))
"""Told apart by every kind of colour vision, and at least 3:1 against white and against the dark page."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SMALL = 11.5
_LONGEST = 26


def svg(frontier: Frontier, cost: str = "size_bytes", width: int = 820, height: int = 470) -> str:
    """A picture of quality (with its 95 % interval) against ``cost`` on a logarithmic axis, as one SVG document.

    It brings its own background, light or dark as the reader's system is. Raises :class:`UnknownNameError` for a
    ``cost`` that is no measured field.
    """
    style = (
        "<style>.fw-picture{color:#1c2430;--fw-paper:#ffffff}"
        "@media (prefers-color-scheme:dark){.fw-picture{color:#e3e8ef;--fw-paper:#12161c}}</style>"
    )
    paper = f'<rect width="{width}" height="{height}" rx="10" style="fill:var(--fw-paper,#fff)"/>'
    return draw(frontier, cost, width, height, style + paper, 'class="fw-picture"')


def draw(frontier: Frontier, cost: str, width: int, height: int, before: str = "", attributes: str = "") -> str:
    """The picture in the colour of the text around it, to stand in a page; ``before`` is put under the drawing."""
    if cost not in COSTS:
        raise unknown_name("measured field", cost, COSTS)
    view = View.of(frontier)
    told = f"Quality against {TITLES[cost].lower()}: {len(view.drawn(cost))} points"
    body = _Drawing(view, cost, width, height).body() if view.drawn(cost) else _empty(view, cost, width, height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(told)}" font-family="{_FONT}" font-size="{_SMALL}" {attributes}>'
        f"{before}<title>{escape(told)}</title>{body}</svg>"
    )


def _empty(view: View, cost: str, width: int, height: int) -> str:
    unmeasured = any(p.quality is not None for p in view.shown)
    text = f"{TITLES[cost]}: not measured" if unmeasured else "No finished point yet"
    return _text(width / 2, height / 2, text, anchor="middle", opacity=0.7, size=14)


class _Drawing:
    """One picture being drawn: where a value lies in pixels, and the pieces in the order of painting."""

    def __init__(self, view: View, cost: str, width: int, height: int) -> None:
        self.view, self.cost = view, cost
        self.axes = Axes.of(view, cost)
        self.legend = self._legend_rows(width)
        top = 38 + 18 * (len(self.legend) - 1 if width >= 560 else len(self.legend))
        self.frame = Box(58, top, width - 22, height - 52)

    def body(self) -> str:
        """Everything, the background first."""
        stairs = self.view.stairs(self.cost)
        solid = [p for p in self.view.drawn(self.cost) if p in stairs or self.view.stands(p) or p is self.view.baseline]
        faint = [p for p in self.view.drawn(self.cost) if not any(p is s for s in solid)]
        parts = [self._grid(), self._titles(), self._line(stairs)]
        parts += [self._mark(p, "faint") for p in faint]
        hollow = [p for p in solid if not any(p is s for s in stairs)]
        parts += [self._mark(p, "hollow" if self.view.stands(p) else "faint") for p in hollow]
        parts += [self._mark(p, "solid") for p in stairs]
        parts.append(self._labels(stairs, faint))
        return "".join(parts)

    def x(self, value: float) -> float:
        low, high = self.axes.cost
        part = math.log(value / low) / math.log(high / low)
        return self.frame.left + part * (self.frame.right - self.frame.left)

    def y(self, value: float) -> float:
        low, high = self.axes.quality
        part = (min(max(value, low), high) - low) / (high - low)
        return self.frame.bottom - part * (self.frame.bottom - self.frame.top)

    def at(self, point: Point) -> tuple[float, float]:
        assert point.quality is not None
        y = self.y(point.quality.value)
        return self.x(placed(point, self.cost) or 1.0), y - 7 if self.axes.below(point) else y

    def _grid(self) -> str:
        frame, parts = self.frame, []
        ticks = even_ticks(*self.axes.quality, most=max(3, int((frame.bottom - frame.top) / 45)))
        factor = 100 if self.view.scale.percent else 1
        places = decimals([t * factor for t in ticks])
        for value in ticks:
            y = self.y(value)
            parts.append(_line(frame.left, y, frame.right, y, 0.12))
            label = f"{value * factor:.{places}f}".replace("-", "−")
            parts.append(_text(frame.left - 8, y + 4, label, anchor="end", opacity=0.75))
        for value in log_ticks(*self.axes.cost, most=max(3, int((frame.right - frame.left) / 72))):
            x = self.x(value)
            parts.append(_line(x, frame.top, x, frame.bottom, 0.07))
            parts.append(_text(x, frame.bottom + 18, tick(self.cost, value), anchor="middle", opacity=0.75))
        parts.append(_line(frame.left, frame.bottom, frame.right, frame.bottom, 0.45))
        return "".join(parts)

    def _titles(self) -> str:
        frame = self.frame
        unit = f", {self.view.scale.unit}" if self.view.scale.unit else ""
        parts = [
            _text(14, 22, f"Quality{unit}", weight=600, size=12.5),
            _text(frame.right, frame.bottom + 40, f"{TITLES[self.cost]}, logarithmic →", anchor="end", opacity=0.85),
        ]
        below = sum(self.axes.below(p) for p in self.view.drawn(self.cost))
        missing = len(self.view.shown) - len(self.view.drawn(self.cost))
        notes = [f"{below} below this range"] if below else []
        notes += [f"{missing} not measured"] if missing else []
        notes = ["bars: 95 % interval", *notes]
        # On a narrow picture the notes go first and the axis's title has the line to itself.
        room = frame.right - frame.left - text_width(f"{TITLES[self.cost]}, logarithmic →", _SMALL) - 16
        while notes and text_width(" · ".join(notes), _SMALL) > room:
            notes.pop(0)
        parts.append(_text(frame.left, frame.bottom + 40, " · ".join(notes), opacity=0.65))
        parts += [self._key(row, 22 + 18 * index + self._drop) for index, row in enumerate(self.legend)]
        return "".join(parts)

    @property
    def _drop(self) -> int:
        return 0 if self.frame.right + 22 >= 560 else 18

    def _legend_rows(self, width: int) -> list[list[tuple[str, str, str]]]:
        drawn = self.view.drawn(self.cost)
        entries = [(name, name, "solid") for name in KINDS if any(kind(p) == name for p in drawn)]
        stairs = self.view.stairs(self.cost)
        hollow = any(self.view.stands(p) and not any(p is s for s in stairs) for p in drawn)
        entries += [("best in another cost", "", "hollow")] if hollow else []
        faint = any(not self.view.stands(p) and not any(p is s for s in stairs) for p in drawn)
        entries += [("dominated", "", "faint")] if faint else []
        entries += [("baseline", "", "ring")] if any(p is self.view.baseline for p in drawn) else []
        room = width - (110 if width >= 560 else 30)
        rows: list[list[tuple[str, str, str]]] = [[]]
        for entry in entries:
            if rows[-1] and sum(_key_width(e) for e in rows[-1]) + _key_width(entry) > room:
                rows.append([])
            rows[-1].append(entry)
        return rows

    def _key(self, row: list[tuple[str, str, str]], y: float) -> str:
        x = self.frame.right - sum(map(_key_width, row)) + 14 if not self._drop else 20.0
        parts = []
        for entry in row:
            name, which, form = entry
            color = COLORS[which] if which else "currentColor"
            parts.append(
                _ring(x, y - 4, 5.5) if form == "ring" else _shape(which or KINDS[0], x, y - 4, color, form, 4.5)
            )
            parts.append(_text(x + 10, y, name, opacity=0.85))
            x += _key_width(entry)
        return "".join(parts)

    def _line(self, stairs: list[Point]) -> str:
        if len(stairs) < 2:
            return ""
        x, y = self.at(stairs[0])
        path = f"M{x:.1f} {y:.1f}"
        for point in stairs[1:]:
            x, y = self.at(point)
            path += f"H{x:.1f}V{y:.1f}"
        return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".45" stroke-width="1.5"/>'

    def _mark(self, point: Point, form: str) -> str:
        x, y = self.at(point)
        color = COLORS[kind(point)]
        low, high = (self.y(v) for v in bounds(point))
        faded = 0.18 if form == "faint" else 0.6
        bar = (
            ""
            if self.axes.below(point)
            else (
                f'<path d="M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6" '
                f'stroke="{color}" stroke-opacity="{faded}" stroke-width="1.2"/>'
            )
        )
        scale = self.view.scale
        told = f"{point.label}: {scale.show(point.quality)} ({scale.interval(point.quality)}), "
        told += shown_cost(self.cost, placed(point, self.cost))
        ring = _ring(x, y) if point is self.view.baseline else ""
        return f"<g><title>{escape(told)}</title>{bar}{_shape(kind(point), x, y, color, form)}{ring}</g>"

    def _labels(self, stairs: list[Point], faint: list[Point]) -> str:
        named = [p for p in [self.view.baseline, *stairs] if p is not None and p in self.view.drawn(self.cost)]
        named = list({id(p): p for p in named}.values())
        wanted = [(*self.at(p), _short(p.label)) for p in named]
        blocks = [Box(x - 7, y - 7, x + 7, y + 7) for x, y in map(self.at, [*named, *faint])]
        for point in stairs:
            x, _ = self.at(point)
            low, high = (self.y(v) for v in bounds(point))
            blocks.append(Box(x - 2, high, x + 2, low))
        for here, there in itertools.pairwise(stairs):
            (x0, y0), (x1, y1) = self.at(here), self.at(there)
            blocks += [Box(x0, y0 - 2, x1, y0 + 2), Box(x1 - 2, y1, x1 + 2, y0)]
        room = Box(self.frame.left + 3, self.frame.top - 6, self.frame.right + 16, self.frame.bottom - 2)
        boxes = place(wanted, blocks, room, _SMALL)
        return "".join(
            _text((b.left + b.right) / 2, b.bottom - 3.5, text, anchor="middle")
            for b, (_, _, text) in zip(boxes, wanted, strict=True)
            if b is not None
        )


def _shape(which: str, x: float, y: float, color: str, form: str, size: float = 5.5) -> str:
    opacity = 0.32 if form == "faint" else 1
    fill = f'fill="{color}"' if form != "hollow" else 'fill="none"'
    look = f'{fill} fill-opacity="{opacity}" stroke="{color}" stroke-opacity="{opacity}" stroke-width="1.6"'
    if which == KINDS[0]:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size - 0.5}" {look}/>'
    if which == KINDS[1]:
        far = size + 0.8
        return f'<path d="M{x:.1f} {y - far:.1f}l{far} {far}l{-far} {far}l{-far} {-far}z" {look}/>'
    side = 2 * size - 1.5
    return f'<rect x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side}" height="{side}" {look}/>'


def _ring(x: float, y: float, radius: float = 9) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="none" stroke="currentColor" stroke-width="1.4"/>'


def _line(x0: float, y0: float, x1: float, y1: float, opacity: float) -> str:
    ends = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
    return f'<line {ends} stroke="currentColor" stroke-opacity="{opacity}"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", opacity: float = 1, weight: int = 400, size: float = _SMALL
) -> str:
    look = f'text-anchor="{anchor}" fill="currentColor" fill-opacity="{opacity}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look} font-size="{size}">{escape(text)}</text>'


def _key_width(entry: tuple[str, str, str]) -> float:
    return 30 + text_width(entry[0], _SMALL)


def tick(cost: str, value: float) -> str:
    """What stands at a tick of the axis of ``cost``.

    >>> tick("size_bytes", 50_000.0), tick("latency_ms", 0.2)
    ('50 KB', '0.2 ms')
    """
    text = shown_cost(cost, value)
    number, _, unit = text.partition(" ")
    whole = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{whole} {unit}".rstrip()


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1].rstrip() + "…"
