"""What a model costs, as measured on its artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Costs read from one artifact in a fresh process; a None was not measured, and ``why`` says the reason.

    Bytes are of the file. ``parameters`` counts stored weights, ``macs`` multiply-accumulates of one example
    (``detail["uncounted_ops"]`` names the operations it leaves out). Latencies are milliseconds a call at
    ``detail["threads"]`` threads and ``detail["batch"]`` examples: median, interquartile range, 90th percentile.
    ``speedup`` is the baseline's median over this one's, both measured in the same run, interleaved.
    ``peak_memory_bytes`` is over the process that has the runtime imported and nothing opened.
    ``energy_mj`` is millijoules a call.
    """

    size_bytes: int | None = None
    gzip_bytes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    latency_ms: float | None = None
    latency_iqr_ms: float | None = None
    latency_p90_ms: float | None = None
    speedup: float | None = None
    peak_memory_bytes: int | None = None
    load_ms: float | None = None
    energy_mj: float | None = None
    why: Mapping[str, str] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Footprint:
        """What :meth:`to_json` gave; fields of a later version are dropped."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in value.items() if k in known})


COSTS = tuple(f.name for f in fields(Footprint) if f.name not in ("why", "detail", "speedup"))
"""The measured fields in which less is better."""
