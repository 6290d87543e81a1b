"""``flyweight measure``: files, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def measure(options: Any) -> int:
    """Measures files interleaved, and prints a row for each."""
    from flyweight.deploy.runtimes.open import runtime_name
    from flyweight.measure.footprint import footprints

    files = [Path(name) for name in options.files]
    baseline = Path(options.baseline) if options.baseline else None
    runtime = runtime_name(options.runtime)
    bench = {name: options[name] for name in ("threads", "batch", "meter")}
    found = footprints(files, runtime=runtime, baseline=baseline, **bench)
    if options.json:
        rows = [{"path": str(path), **f.to_json()} for path, f in zip(files, found, strict=True)]
        print(json.dumps(rows))
        return 0
    _print_footprints(files, found)
    return 0


_SHORT = {
    "size_bytes": "bytes",
    "gzip_bytes": "gzip",
    "parameters": "weights",
    "macs": "MACs",
    "latency_ms": "median",
    "latency_iqr_ms": "IQR",
    "latency_p90_ms": "p90",
    "speedup": "faster",
    "peak_memory_bytes": "memory",
    "load_ms": "load",
    "energy_mj": "energy",
}


def _print_footprints(files: list[Path], found: Sequence[Any]) -> None:
    from flyweight.report.units import MISSING, cost, times

    rows = [["", *_SHORT.values()]]
    for path, footprint in zip(files, found, strict=True):
        values = {name: getattr(footprint, name) for name in _SHORT}
        told = [times(v) if name == "speedup" else cost(name, v) for name, v in values.items()]
        rows.append([path.name, *told])
    columns = [c for c in zip(*rows, strict=True) if any(cell != MISSING for cell in c[1:])]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
    for reason in dict.fromkeys(f"{name} not measured: {why}" for f in found for name, why in f.why.items()):
        print(reason)
