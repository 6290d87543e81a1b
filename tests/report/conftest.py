"""A frontier of every kind of point that a report must be able to show."""

from __future__ import annotations

from typing import Any

import pytest

from flyweight.core.footprint import Footprint
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point, Score

ALARM = '<script>alert("x")</script> & co'


def score(value: float, examples: int = 2000) -> Score:
    half = 1.96 * (value * (1 - value) / examples) ** 0.5
    return Score(value=value, low=round(value - half, 6), high=round(value + half, 6), examples=examples)


def recipe(width: float, epochs: int, *more: Any, loss: Any = None) -> list[Any]:
    return [
        {"use": "flyweight.models.resize.Resize", "width": width},
        {"use": "flyweight.learn.train.Train", "epochs": epochs, "loss": loss},
        *more,
    ]


DISTILLED = {"use": "flyweight.learn.distill.distilled.distilled", "temperature": 4.0}
INT8 = {"use": "flyweight.compress.quantize.quantize.Quantize", "bits": 8}
NO_COUNTER = {"energy_mj": "no counter: /sys/class/powercap is not readable"}


def footprint(size: int, parameters: int, macs: int, latency: float, **more: Any) -> Footprint:
    given: dict[str, Any] = {
        "size_bytes": size,
        "gzip_bytes": int(size * 0.91),
        "parameters": parameters,
        "macs": macs,
        "latency_ms": latency,
        "latency_iqr_ms": round(latency * 0.04, 5),
        "latency_p90_ms": round(latency * 1.1, 5),
        "speedup": round(2.0 / latency, 4),
        "peak_memory_bytes": 9_000_000 + 3 * size,
        "load_ms": 3.2 + size / 1e6,
        "why": NO_COUNTER,
    }
    detail = {"threads": 1, "batch": 1, "runtime": "onnxruntime 1.31.1", "graph_bytes": 9000}
    return Footprint(**(given | {"detail": detail | more.pop("detail", {})} | more))


def points() -> list[Point]:
    return [
        Point(
            id="aaa0",
            label="baseline",
            recipe=recipe(1.0, 15),
            path="models/aaa0.onnx",
            quality=score(0.9032),
            report=score(0.9011, 10_000),
            footprint=footprint(
                5_381_123, 1_343_018, 40_100_000, 2.0, detail={"time_by_op": {"Conv": 0.9, "Relu": 0.1}}
            ),
            baseline=True,
            seconds=120.5,
        ),
        Point(
            id="bbb1",
            label="w0.25 distilled",
            recipe=recipe(0.25, 15, loss=DISTILLED),
            path="models/bbb1.onnx",
            quality=score(0.9057),
            report=score(0.9020, 10_000),
            footprint=footprint(403_456, 98_570, 4_300_000, 0.51),
        ),
        Point(
            id="ccc2",
            label="w0.25 distilled int8",
            recipe=recipe(0.25, 15, INT8, loss=DISTILLED),
            path="models/ccc2.onnx",
            bits=8,
            quality=score(0.9049),
            report=score(0.8987, 10_000),
            footprint=footprint(
                114_231,
                98_570,
                4_300_000,
                0.24,
                detail={
                    "time_by_op": {"QLinearConv": 0.6, "MaxPool": 0.25, "QuantizeLinear": 0.12, "QGemm": 0.03},
                    "empty_call_ms": 0.031,
                },
            ),
        ),
        Point(
            id="ddd3",
            label=ALARM,
            recipe=[{"use": "mine.PruneHeads", "ratio": 0.5, "note": ALARM}],
            path="models/ddd3.onnx",
            bits=4,
            quality=score(0.8610),
            footprint=footprint(
                61_111,
                98_570,
                4_300_000,
                0.41,
                latency_ms=None,
                latency_iqr_ms=None,
                speedup=None,
                why=NO_COUNTER | {"latency_ms": ALARM},
            ),
            notes=(ALARM,),
        ),
        Point(
            id="eee4",
            label="w1.0 int8, badly tuned",
            recipe=recipe(1.0, 15, INT8),
            bits=8,
            quality=score(0.8411),
            report=score(0.8377, 10_000),
            footprint=footprint(1_366_000, 1_343_018, 40_100_000, 0.83, detail={"float_ops": ["Softmax"]}),
        ),
        Point(id="fff5", label="w2.0", recipe=recipe(2.0, 15), failure=f"ExportError: no exporter for {ALARM}"),
        Point(id="ggg6", label="killed", recipe=(), failure="out of memory\nat layer 3"),
    ]


ABOUT = {
    "task": "fashion-mini",
    "seconds": 512.3,
    "splits": {"train": 8000, "calibrate": 100, "select": 2000, "report": 10_000},
    "host": {"cpu": f"A CPU {ALARM}", "cores": 2, "memory_bytes": 8_000_000_000},
    "versions": {"flyweight": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.1"},
}


@pytest.fixture
def frontier() -> Frontier:
    return Frontier(tuple(points()), about=ABOUT)


@pytest.fixture
def alarm() -> str:
    return ALARM


@pytest.fixture
def made() -> dict[str, Point]:
    """The points by id."""
    return {p.id: p for p in points()}
