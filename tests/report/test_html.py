"""The report: self-contained, escaped, complete, and made from the JSON alone."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from flyweight.core.errors import StoreError
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.report.html import fragment, write

_VOID = {"br", "hr", "input", "meta", "link", "img"}


class _Reader(HTMLParser):
    """Elements, the text outside scripts and styles, and whether every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += f" {data}"


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def _without_plotly(path: Path) -> str:
    """The page without its largest script, for tests that look for text."""
    whole = path.read_text("utf-8")
    start = whole.find("<script>/**\n* plotly.js v")
    return whole if start < 0 else whole[:start] + whole[whole.index("</script>", start) + 9 :]


def _scripts(reader: _Reader) -> list[tuple[str, dict[str, str | None]]]:
    return [(name, attributes) for name, attributes in reader.elements if name == "script"]


@pytest.fixture
def page(frontier: Frontier, tmp_path: Path) -> Path:
    return write(frontier, tmp_path / "deep" / "report.html")


def test_one_file_that_loads_nothing(page: Path) -> None:
    assert page.exists()
    assert page.stat().st_size < 6_000_000
    assert [p.name for p in page.parent.iterdir()] == ["report.html"]
    reader = _read(page.read_text("utf-8"))
    for name, attributes in reader.elements:
        assert name not in ("link", "iframe", "img", "base", "object", "embed")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
        assert not any(key.startswith("on") for key in attributes)
    style = next(part for part in re.findall(r"<style>(.*?)</style>", page.read_text("utf-8"), re.S))
    assert "url(" not in style
    assert "@import" not in style


def test_only_its_own_scripts_may_run(page: Path) -> None:
    reader = _read(page.read_text("utf-8"))
    policy = next(a["content"] for n, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-inline'; script" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    kinds = [a.get("type") for _, a in _scripts(reader)]
    run = [s for s, kind in zip(reader.scripts, kinds, strict=True) if kind is None]
    assert len(run) == 2
    assert {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in run} == allowed


def test_what_a_user_wrote_is_escaped(page: Path, frontier: Frontier, alarm: str) -> None:
    rest = _without_plotly(page)
    assert "<script>alert" not in rest
    assert "<script>alert" not in fragment(frontier)
    reader = _read(page.read_text("utf-8"))
    assert reader.text.count(alarm) >= 8
    held = [
        s for (n, a), s in zip(_scripts(reader), reader.scripts, strict=True) if a.get("type") == "application/json"
    ]
    assert len(held) == 2
    assert not any(c in s for s in held for c in "<>&")
    assert "&lt;script&gt;" in str(json.loads(held[0]))


def test_every_section_is_there_and_can_be_reached(page: Path) -> None:
    reader = _read(page.read_text("utf-8"))
    links = [a["href"] for n, a in reader.elements if n == "a" and a.get("href")]
    ids = [a["id"] for _, a in reader.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    assert {str(link)[1:] for link in links} <= set(ids)
    assert {"frontier", "points", "failed", "claims", "recipes", "method", "machine"} <= set(ids)


@pytest.mark.parametrize(
    "told",
    [
        "47× smaller and 8.3× faster at −0.24 points",
        "fashion-mini",
        "5 points · 3 on the frontier · 2 failed",
        "89.20 to 91.78",
        "IQR 0.00960 ms",
        "Energy: not measured: no counter: /sys/class/powercap is not readable",
        "width 0.25 → trained 15 epochs with distilled (T=4) → int8",
        "out of memory\nat layer 3",
        "not explained by what was measured",
        "9.00 KB of its 114 KB are the graph and no weights",
        "a call that computes nothing takes 0.0310 ms, which is 13 % of its time",
        "2,000 examples: every choice was made on it",
        "10,000 examples, read once, at the end, for 4 of 5 points",
        "onnxruntime 1.31.1",
        "8.00 GB",
        "2.13.0",
    ],
)
def test_it_tells(page: Path, told: str) -> None:
    text = _read(_without_plotly(page)).text
    assert " ".join(told.split()) in " ".join(text.split())


def test_the_table_has_heads_and_sorts_by_the_numbers_of_the_json(page: Path, frontier: Frontier) -> None:
    text = _without_plotly(page)
    table = re.search(r'<table class="points">.*?</table>', text, re.S)
    assert table is not None
    assert table[0].count('scope="col"') == table[0].count("<button type=") == 10
    assert table[0].count('scope="row"') == 5
    kept: set[float] = set()

    def walk(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)
        if isinstance(value, int | float):
            kept.add(float(value))

    told = json.loads(json.dumps(frontier.to_json()))
    walk(told)
    base = frontier.points[0]
    for point in frontier.points:
        if point.failure is None and point.quality and base.quality and base.report:
            kept.add(base.footprint.size_bytes / point.footprint.size_bytes)  # type: ignore[operator]
            kept.add(point.quality.value - base.quality.value)
            kept.add(point.report.value - base.report.value if point.report else 0)
    found = [float(v) for v in re.findall(r'<td data-sort="([^"]+)"', table[0])]
    assert len(found) > 30
    assert set(found) <= kept


def test_the_same_json_gives_the_same_page(frontier: Frontier, page: Path, tmp_path: Path) -> None:
    again = Frontier.from_json(json.loads(json.dumps(frontier.to_json())))
    assert write(again, tmp_path / "again.html").read_bytes() == page.read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        ("quality", "value"), ("quality", "low"), ("quality", "high"), ("quality", "examples"), ("report", "value"),
        ("footprint", "size_bytes"), ("footprint", "gzip_bytes"), ("footprint", "parameters"), ("footprint", "macs"),
        ("footprint", "latency_ms"), ("footprint", "latency_iqr_ms"), ("footprint", "speedup"),
        ("footprint", "peak_memory_bytes"), ("footprint", "load_ms"), ("footprint", "energy_mj"), ("seconds",),
        ("label",), ("bits",), ("recipe",), ("notes",),
    ],
)  # fmt: skip
def test_a_changed_figure_changes_the_page(
    frontier: Frontier, page: Path, tmp_path: Path, path: tuple[str, ...]
) -> None:
    told = copy.deepcopy(json.loads(json.dumps(frontier.to_json())))
    place = told["points"][2]
    for name in path[:-1]:
        place = place[name]
    old = place[path[-1]]
    place[path[-1]] = old * 3 if isinstance(old, int) else old * 0.97 if isinstance(old, float) else 7.5
    if path[-1] in ("label", "recipe", "notes"):
        place[path[-1]] = "another" if path[-1] == "label" else ["another"]
    changed = write(Frontier.from_json(told), tmp_path / "changed.html")
    assert _read(_without_plotly(changed)).text != _read(_without_plotly(page)).text


def test_little_to_report(frontier: Frontier, tmp_path: Path) -> None:
    def text(*points: Any) -> str:
        return " ".join(_read(_without_plotly(write(Frontier(points), tmp_path / "r.html"))).text.split())

    assert "Nothing has been tried yet" in text()
    assert (tmp_path / "r.html").stat().st_size < 100_000
    assert "No candidate was finished" in text(frontier.points[5])
    assert "The baseline, and no other point yet" in text(frontier.points[0])
    assert "There is no baseline, so nothing is claimed." in text(*frontier.points[1:])
    bare = dataclasses.replace(frontier.points[0], id="bare", baseline=False, quality=None, report=None)
    assert "bare" in text(bare)


def test_an_unfinished_search_says_so(frontier: Frontier, tmp_path: Path) -> None:
    for end, told in (("time limit", "stopped by its time limit"), ("interrupted", "this is what it had so far")):
        cut = dataclasses.replace(frontier, about={"end": end})
        assert told in _read(_without_plotly(write(cut, tmp_path / "r.html"))).text
    assert "The search was" not in _read(_without_plotly(write(frontier, tmp_path / "r.html"))).text


def test_a_budget_that_nothing_meets_is_told_at_the_head(frontier: Frontier, tmp_path: Path) -> None:
    missed = dataclasses.replace(frontier, about={"budgets": ["size_bytes<=10"]})
    page = write(missed, tmp_path / "r.html").read_text()
    assert re.search(r"<h1>No model meets size_bytes ≤ 10</h1>", page)
    assert re.search(r'class="warning">Closest came [^<]* Every point was kept', page)


def test_a_budget_kept_at_the_searchs_pace_is_told_with_both_times(frontier: Frontier, tmp_path: Path) -> None:
    first = frontier.points[1]
    then = {"latency_ms": 0.45, "speedup": first.footprint.speedup}
    footprint = dataclasses.replace(first.footprint, detail={**first.footprint.detail, "searched": then})
    points = (frontier.points[0], dataclasses.replace(first, footprint=footprint))
    text = _read(write(Frontier(points, about={"budgets": ["latency_ms<=0.5"]}), tmp_path / "r.html").read_text()).text
    assert "which measured 0.45 ms; the last measuring says 0.51 ms, when the machine was 13 % slower." in text


def test_the_splits_are_told_beside_the_cards(frontier: Frontier, tmp_path: Path) -> None:
    told = "Chosen on the select split, told by the report split"
    assert told in _read(_without_plotly(write(frontier, tmp_path / "r.html"))).text
    unread = dataclasses.replace(frontier, points=tuple(dataclasses.replace(p, report=None) for p in frontier.points))
    assert told not in _read(_without_plotly(write(unread, tmp_path / "r.html"))).text


def test_an_odd_about_is_shown_and_not_raised(frontier: Frontier, tmp_path: Path) -> None:
    about = {"task": None, "host": "a string", "versions": [1], "strategy": 3, "options": None, "budgets": ["a<=1"],
             "more": {"deep": {"x_bytes": 2000}}}  # fmt: skip
    text = _read(_without_plotly(write(dataclasses.replace(frontier, about=about), tmp_path / "r.html"))).text
    assert "a<=1" in text
    assert "2.00 KB" in text


def test_a_folder_that_cannot_be_written_is_told_and_the_old_report_stays(frontier: Frontier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        frontier.report(tmp_path / "file" / "report.html")


def test_the_fragment_is_small_and_needs_no_script(frontier: Frontier) -> None:
    told = fragment(frontier)
    assert told == frontier._repr_html_()
    assert len(told) < 30_000
    reader = _read(told)
    assert not reader.scripts
    assert "style" not in [n for n, _ in reader.elements]
    assert {"svg", "table"} <= {n for n, _ in reader.elements}
    assert "47× smaller" in reader.text
    assert "2 failed: all in .report(path)" in reader.text
    assert "Nothing has been tried yet" in _read(fragment(Frontier(()))).text


def test_text_stands_out_in_light_and_in_dark() -> None:
    import importlib.resources

    css = importlib.resources.files("flyweight.report").joinpath("page.css").read_text("utf-8")

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    schemes = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        for ink in ("ink", "soft", "accent", "good", "warn"):
            for paper in ("paper", "card", "tint"):
                bright, dark = sorted((luminance(colors[ink]), luminance(colors[paper])), reverse=True)
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_what_was_left_out_has_a_list_of_its_own(frontier: Frontier, tmp_path: Path) -> None:
    look = Point(id="l1", label="a look", failure="not trained: measured at size_bytes 9")
    page = write(dataclasses.replace(frontier, points=(*frontier.points, look)), tmp_path / "r.html").read_text()
    assert '<section id="left-out"' in page
    assert "Candidates that were not trained" in page
    assert "2 failed · 1 left out" in page
    assert '<section id="left-out"' not in write(frontier, tmp_path / "q.html").read_text()
