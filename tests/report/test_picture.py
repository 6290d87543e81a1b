"""The still picture: well-formed, complete, and safe."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest

from flyweight.core.errors import UnknownNameError
from flyweight.core.frontier import Frontier
from flyweight.report.picture import COLORS, draw, svg

_SVG = "{http://www.w3.org/2000/svg}"


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("cost", ["size_bytes", "latency_ms", "peak_memory_bytes", "energy_mj", "macs"])
@pytest.mark.parametrize("size", [(820, 470), (320, 240)])
def test_it_is_well_formed_and_stays_inside(frontier: Frontier, cost: str, size: tuple[int, int]) -> None:
    root = ET.fromstring(svg(frontier, cost, *size))
    assert root.get("viewBox") == f"0 0 {size[0]} {size[1]}"
    for text in root.iter(f"{_SVG}text"):
        assert 0 <= float(text.get("x", "-1")) <= size[0]
        assert 0 <= float(text.get("y", "-1")) <= size[1]
    assert not list(root.iter(f"{_SVG}script"))


def test_it_tells_every_point_that_has_a_place(frontier: Frontier, alarm: str) -> None:
    root = ET.fromstring(svg(frontier))
    titles = [t.text or "" for g in root.iter(f"{_SVG}g") for t in g.iter(f"{_SVG}title")]
    assert len(titles) == 5
    assert "w0.25 distilled int8: 90.49 % (89.20 to 91.78), 114 KB" in titles
    assert any(t.startswith(alarm) for t in titles)
    texts = [t.text for t in root.iter(f"{_SVG}text")]
    assert "100 KB" in texts
    assert "1 MB" in texts
    assert "w0.25 distilled int8" in texts
    assert "baseline" in texts


def test_points_lie_where_their_figures_say(frontier: Frontier) -> None:
    root = ET.fromstring(draw(frontier, "size_bytes", 800, 400))
    place = {}
    for group in root.iter(f"{_SVG}g"):
        bar = next(
            p.get("d", "") for p in group.iter(f"{_SVG}path") if "V" in p.get("d", "") and "h6" in p.get("d", "")
        )
        x, low, high = map(float, re.match(r"M([\d.]+) ([\d.]+)V([\d.]+)", bar).groups())  # type: ignore[union-attr]
        place[(group.find(f"{_SVG}title").text or "").split(":")[0]] = (x, low, high)  # type: ignore[union-attr]
    assert place["w0.25 distilled int8"][0] < place["w0.25 distilled"][0] < place["baseline"][0]
    assert all(low > high for _, low, high in place.values())
    assert place["w1.0 int8, badly tuned"][2] > place["baseline"][1]


def test_what_has_no_place_is_counted(frontier: Frontier) -> None:
    assert "1 not measured" in svg(frontier, "latency_ms")
    assert "Energy: not measured" in svg(frontier, "energy_mj")
    assert "No finished point yet" in svg(Frontier(()))
    assert len(svg(Frontier(frontier.points[:1]))) > 1000
    assert "baseline" not in svg(Frontier(frontier.points[1:2]))


def test_the_text_on_a_page_takes_the_page_s_colour(frontier: Frontier) -> None:
    assert "<style>" not in draw(frontier, "size_bytes", 600, 300)
    assert "prefers-color-scheme" in svg(frontier)
    assert 'fill="#' not in re.sub("|".join(COLORS.values()), "", draw(frontier, "size_bytes", 600, 300)).replace(
        'fill=""', ""
    )


@pytest.mark.parametrize("paper", ["#ffffff", "#12161c", "#161c24"])
def test_marks_stand_out(paper: str) -> None:
    for color in COLORS.values():
        bright, dark = sorted((_luminance(color), _luminance(paper)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3


def test_an_unknown_cost_is_told(frontier: Frontier) -> None:
    with pytest.raises(UnknownNameError, match="no measured field 'size_byte'. Did you mean 'size_bytes'"):
        svg(frontier, "size_byte")


def test_many_points_keep_their_labels_apart(frontier: Frontier) -> None:
    point = frontier.points[1]
    many = []
    for i in range(60):
        score = dataclasses.replace(point.quality, value=0.5 + i / 200, low=0.49 + i / 200, high=0.51 + i / 200)
        footprint = dataclasses.replace(point.footprint, size_bytes=10_000 + 997 * i)
        many.append(dataclasses.replace(point, id=str(i), label=f"number {i}", quality=score, footprint=footprint))
    texts = [t.text for t in ET.fromstring(svg(Frontier(tuple(many)))).iter(f"{_SVG}text")]
    assert 3 < sum((t or "").startswith("number") for t in texts) < 60
