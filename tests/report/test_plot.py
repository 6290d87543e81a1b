"""The plotly figure."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import pytest

from flyweight.core.errors import MissingExtraError, UnknownNameError
from flyweight.core.frontier import Frontier
from flyweight.report.plot import plot


def _traces(figure: Any) -> list[Any]:
    return [t for t in figure.data if t.mode == "markers" and t.hovertext is not None]


def _ids(traces: list[Any]) -> list[str]:
    return sorted(i for t in traces for i in t.customdata)


def test_every_finished_point_once_and_no_failed_one(frontier: Frontier) -> None:
    figure = plot(frontier)
    assert _ids(_traces(figure)) == ["aaa0", "bbb1", "ccc2", "ddd3", "eee4"]
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.yaxis.automargin, "or the title would stand on labels such as 91.5"
    assert _ids(_traces(plot(frontier, "latency_ms"))) == ["aaa0", "bbb1", "ccc2", "eee4"]


def test_solid_hollow_faint(frontier: Frontier) -> None:
    traces = _traces(plot(frontier, "latency_ms"))
    look = {i: (t.opacity, t.marker.symbol) for t in traces for i in t.customdata}
    assert look == {
        "aaa0": (0.38, "circle"),
        "bbb1": (1, "circle"),
        "ccc2": (1, "diamond"),
        "eee4": (0.38, "diamond"),
    }
    slow = dataclasses.replace(frontier.points[2].footprint, size_bytes=500_000, latency_ms=0.2)
    points = (*frontier.points[:2], dataclasses.replace(frontier.points[2], footprint=slow))
    hollow = [t for t in _traces(plot(Frontier(points))) if t.marker.symbol.endswith("-open")]
    assert _ids(hollow) == ["ccc2"]


def test_the_steps_join_the_best_the_cheapest_first(frontier: Frontier) -> None:
    line = next(t for t in plot(frontier).data if t.mode == "lines")
    assert list(line.x) == [61_111, 114_231, 403_456]
    assert list(line.y) == pytest.approx([86.10, 90.49, 90.57])
    assert line.line.shape == "hv"


def test_the_baseline_is_ringed_and_intervals_are_the_scores(frontier: Frontier) -> None:
    figure = plot(frontier)
    ring = next(t for t in figure.data if t.name == "baseline")
    assert (list(ring.x), ring.marker.symbol) == ([5_381_123], "circle-open")
    trace = next(t for t in _traces(figure) if "ccc2" in t.customdata)
    quality = frontier.points[2].quality
    assert quality is not None
    assert trace.error_y.array[0] == pytest.approx(100 * (quality.high - quality.value))
    assert trace.error_y.arrayminus[0] == pytest.approx(100 * (quality.value - quality.low))


def test_hover_tells_it_all_and_escapes_it(frontier: Frontier) -> None:
    told = {i: h for t in _traces(plot(frontier)) for i, h in zip(t.customdata, t.hovertext, strict=True)}
    for text in (
        "<b>w0.25 distilled int8</b>",
        "width 0.25 → trained 15 epochs with distilled (T=4) → int8",
        "Quality, select: 90.49 % (89.20 to 91.78)",
        "Quality, report: 89.87 % (89.28 to 90.46)",
        "File: 114 KB, 47.1× smaller",
        "Latency: 0.240 ms, 8.33× faster",
    ):
        assert text in told["ccc2"]
    assert "<script>" not in json.dumps(list(told.values()))
    assert "&lt;script&gt;" in told["ddd3"]
    assert "Latency: not measured" in told["ddd3"]


def test_one_entry_a_kind_in_the_legend(frontier: Frontier) -> None:
    entries = [t.name for t in plot(frontier).data if t.showlegend is not False]
    assert sorted(entries) == ["baseline", "float", "int8", "other bits"]


def test_little_to_plot(frontier: Frontier) -> None:
    assert plot(Frontier(())).layout.annotations[0].text == "File size: nothing was measured"
    assert "Energy" in plot(frontier, "energy_mj").layout.annotations[0].text
    assert _ids(_traces(plot(Frontier(frontier.points[:1])))) == ["aaa0"]
    assert "baseline" not in [t.name for t in plot(Frontier(frontier.points[1:])).data]


def test_an_unknown_cost_is_told(frontier: Frontier) -> None:
    with pytest.raises(UnknownNameError, match="no measured field 'latency'. Did you mean 'latency_ms'"):
        frontier.plot("latency")


def test_a_missing_plotly_is_told(frontier: Frontier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(
        MissingExtraError, match=r"needs plotly, which is not installed. Run: pip install 'plotly>=7.1'"
    ):
        plot(frontier)
