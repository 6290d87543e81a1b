"""The table of costs: what is asked of the measuring process, and what is made of its answers."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from flyweight.core.errors import FlyweightError, UnknownNameError
from flyweight.measure import layer_cost as module
from flyweight.measure.child import Answer
from flyweight.measure.footprint import Bench
from flyweight.measure.geometry import Geometry
from flyweight.measure.layer_cost import CostTable, cost_table

ORT = "flyweight.deploy.runtimes.onnxruntime:open_session"

_CONV = Geometry((8, 3, 3, 3), (3, 8, 8), padding=(1, 1, 1, 1))
_HEAD = Geometry((5, 8), (8,))


class _Clock:
    """A measuring process that takes a microsecond a weight and 0.25 ms a call, 20 % of it for moving."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.dips: dict[int, float] = {}

    def ask(self, bench: Bench, job: str, inputs: str | None, count: int = 1, **more: Any) -> Answer:
        assert (job, inputs, count) == ("latency", None, len(more["paths"]))
        assert [n.op_type for n in onnx.load(more["empty"]).graph.node] == ["Identity"]
        self.asked.append(count)
        models = []
        for path in more["paths"]:
            (weight,) = (t for t in onnx.load(path).graph.initializer if t.name == "w")
            size = 1
            for n in weight.dims:
                size *= n
            ms = 0.25 + self.dips.get(weight.dims[0], size / 1000)
            times = {"Conv": 0.8, "ReorderInput": 0.15, "ReorderOutput": 0.05}
            models.append({"latency": {"median_ms": ms, "n": 40 + size % 7}, "time_by_op": times})
        return Answer({"runtime": "fake 1", "empty_call_ms": 0.25, "models": models})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(Bench, "ask", lambda bench, *args, **more: made.ask(bench, *args, **more))
    return made


def _group(*counts: int) -> dict[int, list[Geometry]]:
    return {count: [_CONV.kept(outputs=count), _HEAD.kept(inputs=count)] for count in counts}


def test_the_layers_of_a_group_add_up_without_calls_and_moves(clock: _Clock) -> None:
    table = cost_table({"a": _group(8, 2), "b": {8: [_CONV.kept(outputs=8)] * 2}}, runtime=ORT, threads=2)
    assert table.raw["a"] == pytest.approx({2: 0.8 * (54 + 10) / 1000, 8: 0.8 * (216 + 40) / 1000})
    assert table.raw["b"] == pytest.approx({8: 0.8 * 2 * 216 / 1000})
    assert table.ms == table.raw
    assert (table.runtime, table.threads, table.empty_call_ms) == ("fake 1", 2, 0.25)
    assert table.runs == min(40 + n % 7 for n in (54, 10, 216, 40))
    assert clock.asked == [4], "equal layers are timed once"


def test_a_wider_layer_is_never_the_cheaper_one(clock: _Clock) -> None:
    clock.dips = {4: 0.4, 6: 0.2}
    conv = {count: [_CONV.kept(outputs=count)] for count in (8, 6, 4, 2)}
    table = cost_table({"a": conv}, runtime=ORT)
    assert list(table.raw["a"].values()) == pytest.approx([0.8 * v for v in (0.054, 0.4, 0.2, 0.216)])
    level = 0.8 * (0.4 + 0.2 + 0.216) / 3
    assert list(table.ms["a"].values()) == pytest.approx([0.8 * 0.054, level, level, level])


def test_many_or_large_layers_are_timed_in_parts(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOGETHER", 3)
    groups = {"a": {count: [_CONV.kept(outputs=count)] for count in range(1, 8)}}
    table = cost_table(groups, runtime=ORT)
    assert clock.asked == [3, 3, 1]
    assert len(table.ms["a"]) == 7
    clock.asked.clear()
    monkeypatch.setattr(module, "_TOGETHER_BYTES", 4 * 27 * 9)
    cost_table(groups, runtime=ORT)
    assert clock.asked == [3, 2, 1, 1]


def test_between_counts_the_cost_is_on_the_line() -> None:
    table = CostTable(ms={"a": {8: 3.0, 2: 1.0, 4: 2.0}}, raw={}, runs=1, empty_call_ms=0.0, runtime="fake", threads=1)
    assert [table.at("a", n) for n in (1, 2, 3, 4, 6, 8, 9)] == [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
    with pytest.raises(UnknownNameError, match="no cost was measured of 'b'; of a it was"):
        table.at("b", 2)


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "ask", lambda *args, **more: Answer(None, "it was killed by SIGKILL"))
    with pytest.raises(
        FlyweightError, match=r"costs of 1 layers could not be measured: it was killed by SIGKILL\. Give"
    ):
        cost_table({"a": {8: [_CONV]}}, runtime=ORT)


def test_measured_for_real() -> None:
    wide = Geometry((64, 64, 3, 3), (64, 16, 16), padding=(1, 1, 1, 1))
    table = cost_table({"a": {n: [wide.kept(n, n)] for n in (8, 64)}}, runtime=ORT, seconds=0.02)
    assert 0 < 3 * table.ms["a"][8] < table.ms["a"][64]
    assert table.runs > 5
    assert table.runtime.startswith("onnxruntime ")
