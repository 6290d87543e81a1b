"""The terminal's table and the DataFrame."""

from __future__ import annotations

import dataclasses
import re
import sys

import pytest

from flyweight.core.errors import MissingExtraError
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.report.table import dataframe, text


@pytest.mark.parametrize("width", [20, 100, 120, 140, 400])
def test_nothing_is_cut_and_nothing_sticks_out(frontier: Frontier, width: int) -> None:
    lines = text(frontier, color=False, width=width).splitlines()
    assert max(map(len, lines)) <= max(100, min(140, width))
    row = next(line for line in lines if "w0.25 distilled int8" in line)
    for told in ("90.49", "89.87", "−0.24", "114 KB", "0.240 ms", "8.33×"):
        assert told in row
    assert row.startswith("●")
    figures = [line for line in lines if line.startswith(("●", "·"))][:5]
    assert not any("…" in re.sub(r"<script.*?…", "", line) for line in figures)


def test_columns_are_aligned(frontier: Frontier) -> None:
    lines = text(frontier, color=False, width=140).splitlines()
    rows = [line for line in lines if line.startswith(("●", "·"))][:5]
    head = next(line for line in lines if "Point" in line)
    end = head.index("Bytes") + len("Bytes")
    assert all(row[end - 1] == "B" and row[end] == " " for row in rows)


def test_the_wide_table_has_intervals_and_memory(frontier: Frontier) -> None:
    told = text(frontier, color=False, width=140)
    assert "90.49 [89.20, 91.78]" in told
    assert "9.34 MB" in told
    assert "Energy" not in told


def test_failed_candidates_are_below_with_their_reasons(frontier: Frontier, alarm: str) -> None:
    told = text(frontier, color=False)
    assert f"✗ w2.0  failed: ExportError: no exporter for {alarm}" in told
    assert "✗ killed  failed: out of memory at layer 3" in told
    assert told.index("✗") > told.index("baseline")
    assert told.splitlines()[0] == "fashion-mini: 3 of 5 points on the frontier, 2 failed"


def test_a_label_is_no_markup_of_rich(frontier: Frontier) -> None:
    named = dataclasses.replace(frontier.points[1], label="[red]x[/red] [link=http://a]b[/link]")
    assert "[red]x[/red] [link=http://a]" in text(Frontier((named,)), color=True, width=140)


def test_colour_is_for_terminals(frontier: Frontier, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in text(frontier, color=True)
    assert "\x1b[" not in text(frontier)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in text(frontier)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in text(frontier)


def test_little_to_show(frontier: Frontier) -> None:
    assert text(Frontier(())) == "no point yet"
    single = text(Frontier(frontier.points[:1]))
    assert "1 of 1 points on the frontier" in single
    without = text(Frontier(frontier.points[1:]))
    assert "No baseline was measured." in without
    assert repr(frontier) == text(frontier)


def test_the_frame_names_its_units(frontier: Frontier) -> None:
    pd = pytest.importorskip("pandas")
    frame = dataframe(frontier).set_index("id")
    assert len(frame) == 7
    row = frame.loc["ccc2"]
    assert row["quality_percent"] == pytest.approx(90.49)
    assert row["change_points"] == pytest.approx(-0.24)
    assert row["change_split"] == "report"
    assert row["size_bytes"] == 114_231
    assert row["smaller_times"] == pytest.approx(5_381_123 / 114_231)
    assert row["latency_ms"] == 0.24
    assert row["recipe"].endswith("int8")
    assert pd.isna(frame.loc["ddd3", "latency_ms"])
    assert frame["energy_mj"].dtype == float
    assert frame["energy_mj"].isna().all()
    assert frame.loc["ggg6", "failure"].startswith("out of memory")
    assert len(dataframe(Frontier(()))) == 0


def test_a_missing_pandas_is_told(frontier: Frontier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError) as error:
        frontier.to_dataframe()
    assert str(error.value) == (
        "MissingExtraError: to_dataframe needs pandas, which is not installed. Run: pip install pandas"
    )


def test_what_was_left_out_before_training_has_not_failed(frontier: Frontier) -> None:
    looks = [
        Point(id="l1", label="channels −50 %", failure="not trained: measured at size_bytes 9"),
        Point(id="l2", label="wide", failure="skipped: 9 KB untrained exceeds size_bytes<=1000"),
    ]
    more = dataclasses.replace(frontier, points=(*frontier.points, *looks))
    told = text(more, color=False).splitlines()
    assert told[0] == "fashion-mini: 3 of 5 points on the frontier, 2 failed, 2 left out"
    assert told[-2:] == [
        "· channels −50 %  not trained: measured at size_bytes 9",
        "· wide  skipped: 9 KB untrained exceeds size_bytes<=1000",
    ]
    assert "2 left out" in more._repr_html_()
    only = Frontier((looks[0],))
    assert "No candidate was finished" in text(only, color=False) or "no point yet" in text(only, color=False)
