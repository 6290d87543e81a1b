"""Claimed against delivered: what theory promises of a point, what its file gave, and where they part, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flyweight.core.footprint import Footprint
from flyweight.core.point import Point
from flyweight.report.kernels import reasons_kernels
from flyweight.report.reasons import reasons_memory, reasons_size, reasons_speed
from flyweight.report.zeros import reasons_zeros, skipped

UNEXPLAINED = "not explained by what was measured"
_APART = 1.1
"""Claim and delivery part where one is more than a tenth over the other."""


@dataclass(frozen=True, kw_only=True)
class Parting:
    """One claim beside what was delivered: ratios over the baseline, larger is better.

    ``what`` is size, speed or memory, or zeros, of a point with many: the speed there would be if multiplications by
    them were skipped. ``claim`` says how the claimed ratio was got. ``apart`` tells whether they
    differ by more than a tenth (for speed: by more than the noise, too), and ``reasons`` why, each from a measured
    fact; without such a fact the only reason is that it is not explained. A ratio that cannot be had is None.
    """

    what: str
    claim: str
    claimed: float | None
    delivered: float | None
    apart: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Ratios of the baseline over a point.

    ``claimed`` holds ``parameters`` (fewer weights), ``bits`` (32 over the width stored, with a float baseline),
    ``bytes`` (parameters × bits: the bytes in theory) and ``macs``; ``delivered`` holds ``bytes``, ``gzip``,
    ``speed`` (medians of one interleaved run) and ``memory``. What was not measured is None. ``partings`` sets the
    one beside the other.
    """

    claimed: Mapping[str, float | None] = field(default_factory=dict)
    delivered: Mapping[str, float | None] = field(default_factory=dict)
    partings: tuple[Parting, ...] = ()


def claims(point: Point, baseline: Point) -> Claim:
    """What ``point`` promises over ``baseline`` and what it delivers, from the JSON of both alone."""
    mine, base = point.footprint, baseline.footprint
    parameters = _ratio(base.parameters, mine.parameters)
    bits = _ratio(baseline.bits, point.bits)
    macs = _ratio(base.macs, mine.macs)
    theory = _product(parameters, bits)
    claimed = {"parameters": parameters, "bits": bits, "bytes": theory, "macs": macs}
    delivered = {
        "bytes": _ratio(base.size_bytes, mine.size_bytes),
        "gzip": _ratio(base.gzip_bytes, mine.gzip_bytes),
        "speed": speed(mine, base),
        "memory": _ratio(base.peak_memory_bytes, mine.peak_memory_bytes),
    }
    work = _product(macs, bits)
    how = "MACs left by the sparse kernels" if point.needs else "MACs"
    how += " × bits" if bits is not None and bits != 1 else ""
    faster, leaner = delivered["speed"], delivered["memory"]
    slower = (*reasons_kernels(point, work, faster), *reasons_speed(mine, base, work, faster, skips=bool(point.needs)))
    partings = [
        _part("size", "parameters × bits", theory, delivered["bytes"], reasons_size(mine, base, theory)),
        _part("speed", how, work, faster, slower, _spread(mine, base)),
        _part("memory", "parameters × bits", theory, leaner, reasons_memory(mine, base, theory, leaner)),
    ]
    fewer = skipped(mine)
    if fewer is not None and fewer > _APART:
        spared = _product(work, fewer / (skipped(base) or 1.0))
        why = reasons_zeros(mine, work, faster)
        partings.insert(2, _part("zeros", f"{how} without zeros", spared, faster, why, _spread(mine, base)))
    return Claim(claimed=claimed, delivered=delivered, partings=tuple(partings))


def speed(mine: Footprint, base: Footprint) -> float | None:
    """The baseline's time over this one's, as measured in one interleaved run; two separate runs are not compared."""
    if mine.speedup is not None:
        return mine.speedup
    return 1.0 if mine is base and mine.latency_ms is not None else None


def _part(
    what: str, claim: str, claimed: float | None, delivered: float | None, why: tuple[str, ...], noise: float = 0.0
) -> Parting:
    apart = False
    if claimed is not None and delivered is not None:
        apart = max(claimed, delivered) > (_APART + noise) * min(claimed, delivered)
    reasons = (why or (UNEXPLAINED,)) if apart else ()
    return Parting(what=what, claim=claim, claimed=claimed, delivered=delivered, apart=apart, reasons=reasons)


def _spread(mine: Footprint, base: Footprint) -> float:
    """The relative half-width of the two latencies' interquartile ranges: a ratio is not known any better."""
    told = [(f.latency_iqr_ms or 0.0) / f.latency_ms for f in (mine, base) if f.latency_ms]
    return sum(told) / 2


def _ratio(base: float | None, mine: float | None) -> float | None:
    return None if base is None or mine is None or base <= 0 or mine <= 0 else base / mine


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b
