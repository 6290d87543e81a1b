#!/usr/bin/env python3
"""What flyweight costs before it does anything: installed megabytes beside torch, and the time of its import.

Counted are the files of the core dependencies (no extras) and of what they need in turn, less torch and what torch
needs in turn: as the wheels ship them, and apart the byte code that pip makes of them unless told ``--no-compile``.
Times are medians of fresh processes, flyweight and torch in turn.
"""

from __future__ import annotations

import argparse
import importlib.metadata as metadata
import json
import platform
import re
import statistics
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

LIMIT_MB = 350
LIMIT_SECONDS = 0.3


def closure(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """The installed distributions that ``name`` needs, itself among them, as normalised names."""
    found: set[str] = set()
    waiting = [(name, extras)]
    seen = set()
    while waiting:
        current, wanted = waiting.pop()
        key = re.sub(r"[-_.]+", "-", current).lower()
        if (key, wanted) in seen:
            continue
        seen.add((key, wanted))
        try:
            distribution = metadata.distribution(key)
        except metadata.PackageNotFoundError:
            continue  # another platform's
        found.add(key)
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *wanted)):
                waiting.append((requirement.name, tuple(sorted(requirement.extras))))
    return found


def megabytes(name: str) -> tuple[float, float]:
    """The installed files of a distribution, in 10⁶ bytes: without byte code, and byte code alone."""
    shipped = compiled = 0
    for file in metadata.distribution(name).files or ():
        path = Path(str(file.locate()))
        if path.is_file() and path.suffix == ".pyc":
            compiled += path.stat().st_size
        elif path.is_file():
            shipped += path.stat().st_size
    return shipped / 1e6, compiled / 1e6


def import_seconds(statement: str) -> float:
    """Seconds that ``statement`` takes in a fresh process, after the interpreter has started."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def measure(repeats: int) -> dict[str, object]:
    """Everything, as one JSON object."""
    names = closure("flyweight") - closure("torch") - {"flyweight"}
    both = {name: megabytes(name) for name in names}
    sizes = {name: round(shipped, 1) for name, (shipped, _) in both.items()}
    statements = {"torch": "import torch", "flyweight": "import flyweight", "both": "import torch, flyweight"}
    times: dict[str, list[float]] = {name: [] for name in statements}
    for statement in statements.values():
        import_seconds(statement)  # the first reads the disk
    for _ in range(repeats):
        for name, statement in statements.items():
            times[name].append(import_seconds(statement))
    medians = {name: round(statistics.median(values), 4) for name, values in times.items()}
    return {
        "core_without_torch_mb": round(sum(shipped for shipped, _ in both.values()), 1),
        "byte_code_mb": round(sum(compiled for _, compiled in both.values()), 1),
        "limit_mb": LIMIT_MB,
        "packages_mb": dict(sorted(sizes.items(), key=lambda item: -item[1])),
        "import_s": medians,
        # Two fresh torch imports differ by more than flyweight costs, so its own time is the figure.
        "import_flyweight_over_torch_s": medians["flyweight"],
        "limit_s": LIMIT_SECONDS,
        "repeats": repeats,
        "host": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: metadata.version(name) for name in ("flyweight", "torch")},
    }


def main() -> int:
    """Prints the figures; the exit status is 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three repeats instead of nine")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--record", type=Path, help="also write the JSON to this file")
    options = parser.parse_args()
    result = measure(3 if options.quick else 9)
    if options.record:
        options.record.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        packages = result["packages_mb"]
        assert isinstance(packages, dict)
        largest = ", ".join(f"{name} {size:g}" for name, size in list(packages.items())[:6])
        print(f"core without torch: {result['core_without_torch_mb']} MB of at most {LIMIT_MB} (largest: {largest})")
        print(f"byte code that pip made of it: {result['byte_code_mb']} MB")
        print(f"import: {result['import_s']} s; flyweight adds at most {LIMIT_SECONDS} s to torch")
    met = float(str(result["core_without_torch_mb"])) <= LIMIT_MB
    return 0 if met and float(str(result["import_flyweight_over_torch_s"])) <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
