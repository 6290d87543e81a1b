"""Claimed against delivered, and why they part."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.core.footprint import Footprint
from flyweight.core.point import Point
from flyweight.report.claims import UNEXPLAINED, Claim, Parting, claims

_BASE: dict[str, Any] = {
    "size_bytes": 4_000_000,
    "gzip_bytes": 3_600_000,
    "parameters": 1_000_000,
    "macs": 40_000_000,
    "latency_ms": 2.0,
    "latency_iqr_ms": 0.02,
    "speedup": 1.0,
    "peak_memory_bytes": 20_000_000,
}


def _point(bits: int = 32, detail: dict[str, Any] | None = None, **more: Any) -> Point:
    return Point(id="a", label="a", bits=bits, footprint=Footprint(**(_BASE | more), detail=detail or {}))


def _of(claim: Claim, what: str) -> Parting:
    return next(p for p in claim.partings if p.what == what)


def test_the_ratios() -> None:
    small = _point(
        8,
        size_bytes=111_000,
        gzip_bytes=90_000,
        parameters=100_000,
        macs=4_000_000,
        latency_ms=0.4,
        speedup=5.1,
        peak_memory_bytes=5_000_000,
    )
    found = claims(small, _point())
    assert found.claimed == {"parameters": 10, "bits": 4, "bytes": 40, "macs": 10}
    assert found.delivered == {"bytes": pytest.approx(36.036, abs=0.001), "gzip": 40, "speed": 5.1, "memory": 4}


def test_the_baseline_delivers_what_it_claims() -> None:
    base = _point(speedup=None)
    found = claims(base, base)
    assert set(found.claimed.values()) == {1}
    assert set(found.delivered.values()) == {1}
    assert not any(p.apart or p.reasons for p in found.partings)


def test_what_was_not_measured_is_none_and_parts_from_nothing() -> None:
    empty = Point(id="a", label="a")
    found = claims(empty, _point())
    assert found.claimed == {"parameters": None, "bits": 1, "bytes": None, "macs": None}
    assert set(found.delivered.values()) == {None}
    assert all(p.claimed is None and not p.apart and not p.reasons for p in found.partings)


def test_two_separate_runs_are_not_compared() -> None:
    assert claims(_point(latency_ms=0.5, speedup=None), _point()).delivered["speed"] is None


def test_without_a_fact_there_is_no_reason() -> None:
    found = claims(_point(macs=4_000_000, latency_ms=0.4, speedup=5.0), _point())
    assert _of(found, "speed").apart
    assert _of(found, "speed").reasons == (UNEXPLAINED,)
    assert not _of(found, "size").apart


def test_bytes_that_are_no_weights() -> None:
    small = _point(8, size_bytes=40_000, parameters=25_000, detail={"graph_bytes": 15_000})
    base = _point(detail={"graph_bytes": 10_000})
    (reason,) = _of(claims(small, base), "size").reasons
    assert reason == (
        "15.0 KB of its 40.0 KB are the graph and no weights (10.0 KB of 4.00 MB in the baseline): "
        "the weights alone are 160× smaller"
    )


def test_a_reason_that_explains_a_part_says_so() -> None:
    small = _point(8, size_bytes=60_000, parameters=25_000, detail={"graph_bytes": 15_000})
    reasons = _of(claims(small, _point(detail={"graph_bytes": 10_000})), "size").reasons
    assert reasons[1] == "the rest of the difference is not explained by what was measured"


def test_graph_bytes_that_explain_nothing_are_not_told() -> None:
    small = _point(8, size_bytes=500_000, parameters=1_000_000, detail={"graph_bytes": 0})
    assert _of(claims(small, _point(detail={"graph_bytes": 10_000})), "size").reasons == (UNEXPLAINED,)


_TIMES = {"QLinearConv": 0.5, "MaxPool": 0.2, "QuantizeLinear": 0.15, "Softmax": 0.15}


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ({"time_by_op": _TIMES}, "conversions between number formats take 15 % of its time (QuantizeLinear)"),
        (
            {"time_by_op": _TIMES},
            (
                "operations without multiply-accumulates take 35 % of its time (MaxPool 20 %, Softmax 15 %): "
                "fewer MACs do not shorten them"
            ),
        ),
        # Microseconds are as good as parts.
        (
            {"time_by_op": {k: 300 * v for k, v in _TIMES.items()}},
            "conversions between number formats take 15 % of its time (QuantizeLinear)",
        ),
        ({"time_by_op": _TIMES, "float_ops": ["Softmax"]}, "operations left in float take 15 % of its time (Softmax)"),
        ({"float_ops": ["Softmax", "Add", "Mul", "Erf"]}, "operations left in float: Softmax, Add, Mul and more"),
        (
            {"time_by_op": _TIMES, "uncounted_ops": ["Softmax"]},
            "the count of MACs leaves out 15 % of its time (Softmax)",
        ),
        ({"empty_call_ms": 0.1}, "a call that computes nothing takes 0.100 ms, which is 25 % of its time"),
        (
            {"time_by_op": {"QLinearConv": 0.9, "Relu": 0.1}},
            "Conv, 90 % of its time, became 5.56× faster and not 40.0×",
        ),
    ],
)
def test_reasons_for_a_speed_that_was_not_delivered(detail: dict[str, Any], told: str) -> None:
    small = _point(8, macs=4_000_000, latency_ms=0.4, speedup=5.0, detail=detail)
    base = _point(detail={"time_by_op": {"Conv": 1.0}})
    assert told in _of(claims(small, base), "speed").reasons


@pytest.mark.parametrize(
    "detail",
    [
        {"time_by_op": {"MaxPool": 0.05, "QLinearConv": 0.95}},
        {"empty_call_ms": 0.001},
        {"zero_share": 0.01},
        {"float_ops": []},
        {"time_by_op": None, "float_ops": 3, "empty_call_ms": "no", "zero_share": float("nan"), "uncounted_ops": None},
        {"time_by_op": {"Conv": "much"}},
    ],
)
def test_small_or_broken_facts_are_no_reasons(detail: dict[str, Any]) -> None:
    small = _point(8, macs=4_000_000, latency_ms=0.4, speedup=5.0, detail=detail)
    assert _of(claims(small, _point()), "speed").reasons == (UNEXPLAINED,)


def test_what_slows_down_explains_no_gain() -> None:
    detail = {"time_by_op": _TIMES, "empty_call_ms": 0.3, "zero_share": 0.9}
    quick = _point(latency_ms=0.4, speedup=5.0, detail=detail)
    assert _of(claims(quick, _point()), "speed").reasons == (UNEXPLAINED,)


def test_noise() -> None:
    noisy = _point(macs=10_000_000, latency_ms=1.9, latency_iqr_ms=0.4, speedup=1.05)
    (reason,) = _of(claims(noisy, _point()), "speed").reasons
    assert "interquartile ranges (0.400 ms and 0.0200 ms) overlap: this is noise" in reason
    # A difference within the spread is none.
    assert not _of(claims(_point(latency_ms=1.7, latency_iqr_ms=0.5, speedup=1.17), _point()), "speed").apart


def test_memory() -> None:
    small = _point(8, size_bytes=100_000, parameters=100_000, peak_memory_bytes=10_000_000)
    (reason,) = _of(claims(small, _point()), "memory").reasons
    assert reason.startswith("its whole file is 100 KB of the 10.0 MB at the peak")
    beyond = _point(8, size_bytes=100_000, parameters=900_000, peak_memory_bytes=1_000_000)
    assert _of(claims(beyond, _point()), "memory").reasons == (UNEXPLAINED,)


def _zeros(share: float, **more: Any) -> dict[str, Any]:
    return {"zero_share": share, "runtime": "onnxruntime 1.31.1", **more}


def test_zeros_that_buy_no_speed_are_told_from_bytes_that_they_save() -> None:
    detail = _zeros(0.9, macs_nonzero=5_000_000, graph_bytes=160_000, place_bytes=150_000)
    sparse = _point(parameters=100_000, size_bytes=560_000, latency_ms=1.96, speedup=1.02, detail=detail)
    found = claims(sparse, _point(detail=_zeros(0.0, macs_nonzero=40_000_000, graph_bytes=10_000)))
    part = _of(found, "zeros")
    assert (part.claim, part.claimed, part.delivered, part.apart) == ("MACs without zeros", 8, 1.02, True)
    (reason,) = part.reasons
    assert reason == (
        "ONNX Runtime multiplies zeros like any other number: 90 % of the weights are zeros, and it ran 1.02× as fast "
        "as the baseline; to be faster, remove whole channels, or run it with kernels that skip zeros"
    )
    assert not _of(found, "speed").apart, "as many MACs, and as fast"
    size = _of(found, "size")
    assert (size.claimed, size.delivered) == (10, pytest.approx(4e6 / 560_000))
    assert size.reasons == (
        "150 KB of its 560 KB tell where its weights stand among zeros left out: the weights alone are 9.97× smaller",
    )


def test_bitmaps_and_the_graph_are_told_apart() -> None:
    detail = _zeros(0.9, graph_bytes=30_000, place_bytes=15_000)
    sparse = _point(parameters=10_000, size_bytes=70_000, detail=detail)
    (reason,) = _of(claims(sparse, _point(detail={"graph_bytes": 10_000})), "size").reasons
    assert reason == (
        "15.0 KB of its 70.0 KB tell where its weights stand among zeros left out and 15.0 KB are the graph and no "
        "weights (10.0 KB of 4.00 MB in the baseline): the weights alone are 99.8× smaller"
    )


def test_without_a_count_of_products_the_share_of_zeros_promises() -> None:
    part = _of(claims(_point(8, speedup=4.0, latency_ms=0.5, detail=_zeros(0.75)), _point()), "zeros")
    assert (part.claim, part.claimed) == ("MACs × bits without zeros", 16)
    assert "75 % of the weights are zeros, and it ran 4.00× as fast" in part.reasons[0]


def test_a_runtime_that_gains_from_zeros_is_not_said_not_to() -> None:
    part = _of(claims(_point(latency_ms=0.4, speedup=5.0, detail=_zeros(0.9)), _point()), "zeros")
    assert part.reasons == (UNEXPLAINED,)
    other = _point(detail=_zeros(0.9, runtime="mine 1"), speedup=1.0)
    assert _of(claims(other, _point()), "zeros").reasons[0].startswith("its runtime did not gain from zeros: 90 %")


@pytest.mark.parametrize("detail", [{}, {"zero_share": 0.03}, {"zero_share": 1.0}, {"zero_share": "much"}])
def test_few_zeros_promise_nothing(detail: dict[str, Any]) -> None:
    assert [p.what for p in claims(_point(detail=detail), _point()).partings] == ["size", "speed", "memory"]


def test_zeros_of_the_baseline_are_no_gain() -> None:
    base = _point(detail=_zeros(0.9))
    assert not _of(claims(base, base), "zeros").apart


_OPS = st.sampled_from(["Conv", "QLinearConv", "Cast", "MaxPool", "Softmax", ""])


@given(
    st.builds(
        Footprint,
        size_bytes=st.none() | st.integers(0, 10**9),
        parameters=st.none() | st.integers(0, 10**9),
        macs=st.none() | st.integers(0, 10**12),
        latency_ms=st.none() | st.floats(0, 1e4),
        latency_iqr_ms=st.none() | st.floats(0, 1e3),
        speedup=st.none() | st.floats(0, 1e3),
        peak_memory_bytes=st.none() | st.integers(0, 10**10),
        detail=st.dictionaries(
            st.sampled_from(
                [
                    *("graph_bytes", "place_bytes", "time_by_op", "float_ops", "empty_call_ms", "uncounted_ops"),
                    *("zero_share", "macs_nonzero", "runtime"),
                ]
            ),
            st.none() | st.floats() | st.lists(_OPS) | st.dictionaries(_OPS, st.floats()),
        ),
    )
)
def test_no_footprint_breaks_it(footprint: Footprint) -> None:
    point = dataclasses.replace(_point(), footprint=footprint)
    for found in (claims(point, _point()), claims(_point(), point)):
        for part in found.partings:
            assert bool(part.reasons) == part.apart
