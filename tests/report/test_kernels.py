"""What the sparse kernels promise of a point, what they delivered, and the facts for the rest."""

from __future__ import annotations

import dataclasses
from typing import Any

from flyweight.core.footprint import Footprint
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point, Score
from flyweight.report.claims import Claim, Parting, claims
from flyweight.report.table import text

NEED = "the library: options.register_custom_ops_library(…)"
DENSE = "dense, for the sparse kernels brought less than 5 % here: head 0.91×"


def point(needs: tuple[str, ...] = (), **more: Any) -> Point:
    detail = more.pop("detail", {})
    given = {"size_bytes": 4_000_000, "parameters": 1_000_000, "macs": 40_000_000, "latency_ms": 2.0, "speedup": 1.0}
    return Point(
        id="a",
        label="blocks",
        path="models/blocks.onnx",
        quality=Score(value=0.9, low=0.89, high=0.91, examples=500),
        footprint=Footprint(**(given | more), detail=detail),
        needs=needs,
        notes=(DENSE, "something else"),
    )


def sparse(**more: Any) -> Point:
    timed = {"SparseConv": 0.6, "SparseLinear": 0.1, "Softmax": 0.2, "Reshape": 0.1}
    detail = {"time_by_op": timed, "macs_dense": 40_000_000, "macs_nonzero": 4_000_000, "zero_share": 0.9}
    given = {"macs": 4_000_000, "parameters": 100_000, "size_bytes": 500_000, "latency_ms": 0.5, "speedup": 4.0}
    return point((NEED,), detail=detail | more.pop("detail", {}), **(given | more))


def of(claim: Claim, what: str) -> Parting:
    return next(p for p in claim.partings if p.what == what)


def test_the_theoretical_gain_stands_beside_the_measured_one() -> None:
    speed = of(claims(sparse(), point()), "speed")
    assert (speed.claim, speed.claimed, speed.delivered) == ("MACs left by the sparse kernels", 10, 4.0)
    outside, dense = speed.reasons[:2]
    assert outside == (
        "30 % of its time passes outside the layers that skip zeros (Softmax 20 %, Reshape 10 %): fewer "
        "multiply-accumulates do not shorten that"
    )
    assert dense == "Dense, for the sparse kernels brought less than 5 % here: head 0.91×"


def test_of_integers_the_bits_stand_behind() -> None:
    mine = dataclasses.replace(sparse(), bits=8)
    assert of(claims(mine, dataclasses.replace(point(), bits=32)), "speed").claim == (
        "MACs left by the sparse kernels × bits"
    )


def test_the_time_outside_is_told_once() -> None:
    timed = {"QSparseConv": 0.5, "QGemm": 0.2, "QMaxPool": 0.2, "QuantizeLinear": 0.1}
    mine = sparse(detail={"time_by_op": timed, "uncounted_ops": ["QMaxPool", "QuantizeLinear"]})
    told = of(claims(mine, point()), "speed").reasons
    (outside,) = (reason for reason in told if "QMaxPool" in reason)
    assert outside.startswith(
        "50 % of its time passes outside the layers that skip zeros (QGemm 20 %, QMaxPool 20 %, QuantizeLinear 10 %)"
    )


def test_no_reason_where_nothing_is_missing() -> None:
    found = claims(sparse(speedup=11.0, latency_ms=0.18), point())
    assert not of(found, "speed").reasons
    assert not any(p.what == "zeros" for p in found.partings), "what is skipped is claimed as speed"
    little = sparse(detail={"time_by_op": {"SparseConv": 0.95, "Reshape": 0.05}})
    assert not any("passes outside" in r for r in of(claims(little, point()), "speed").reasons)
    assert claims(sparse(detail={"time_by_op": "rubbish"}), point())


def test_plain_points_are_told_as_before() -> None:
    found = claims(point(detail={"macs_nonzero": 4_000_000, "zero_share": 0.9}), point())
    assert of(found, "speed").claim == "MACs"
    assert "its runtime did not gain from zeros" in of(found, "zeros").reasons[0]


def test_zeros_of_layers_that_stayed_dense() -> None:
    mixed = sparse(macs=20_000_000, speedup=1.9, latency_ms=1.0)
    (why,) = of(claims(mixed, point()), "zeros").reasons
    assert why.startswith("the layers that stayed dense multiply zeros like any other number: 90 % of the weights")


def test_who_needs_the_library_is_marked(tmp_path: Any) -> None:
    base = dataclasses.replace(point(), id="b", label="baseline", baseline=True, notes=())
    frontier = Frontier((base, sparse()))
    told = text(frontier, color=False, width=140)
    assert "blocks ‡" in told
    assert "baseline ‡" not in told
    long = dataclasses.replace(sparse(), label="blocks of four by four, nine of ten gone, in integers")
    (row,) = (line for line in text(Frontier((base, long)), color=False, width=100).splitlines() if "blocks" in line)
    assert "… ‡" in row, "what is cut is the label"
    assert f"‡ needs {NEED}; the plain file stands beside it" in told
    page = frontier.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"to open it: {NEED}" in page
    assert page.count(">sparse kernels<") == 1
    assert list(frontier.to_dataframe()["needs"].dropna()) == [NEED]
