"""What the demo reached: its frontier, the 40× point, the better one at half the bytes, and the time of a second call.

scripts/demo && .venv/bin/python benchmarks/demo.py --json
.venv/bin/python benchmarks/demo.py --run run/fashion-mini --quick      # without timing a second call
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.deploy.runtimes.open import open_artifact


def measure(folder: Path, again: bool) -> dict[str, Any]:
    """The figures as one JSON object; the points are chosen on select and told by report, where it was read."""
    found = Frontier.load(folder)
    base = found.baseline
    if base is None or base.quality is None or base.report is None or base.footprint.size_bytes is None:
        raise SystemExit(f"{folder} holds no finished baseline")
    shown = list(found.optimal)
    for point in shown:
        open_artifact(folder / str(point.path))
    size = base.footprint.size_bytes
    small = [p for p in shown if (p.footprint.size_bytes or size) * 40 <= size]
    half = [p for p in shown if (p.footprint.size_bytes or size) * 2 <= size]
    result: dict[str, Any] = {
        "frontier_points": len(shown),
        "float_points": sum(p.bits == 32 for p in shown),
        "int8_points": sum(p.bits == 8 for p in shown),
        "opened_in_onnxruntime": len(shown),
        "baseline": _told(base, base),
        "at_least_40_times_smaller": _told(_best(small), base),
        "at_most_half_the_bytes": _told(_best(half), base),
        "seconds_in_steps": round(sum(json.loads(line)["seconds"] for line in (folder / "log.jsonl").open())),
        "about": dict(found.about),
    }
    if again:
        start = time.perf_counter()
        script = Path(__file__).resolve().parent.parent / "scripts" / "demo"
        subprocess.run([str(script)], check=True, stdout=subprocess.DEVNULL)
        result["second_call_s"] = round(time.perf_counter() - start, 1)
    return result


def _best(points: list[Point]) -> Point | None:
    return max(points, key=lambda p: p.value("quality") or 0.0, default=None)


def _told(point: Point | None, base: Point) -> dict[str, Any] | None:
    if point is None or point.quality is None or base.quality is None:
        return None
    told: dict[str, Any] = {
        "label": point.label,
        "size_bytes": point.footprint.size_bytes,
        "times_smaller": round((base.footprint.size_bytes or 0) / (point.footprint.size_bytes or 1), 1),
        "speedup": point.footprint.speedup,
        "select_points_gained": round(100 * (point.quality.value - base.quality.value), 2),
    }
    if point.report is not None and base.report is not None:
        told["report_points_gained"] = round(100 * (point.report.value - base.report.value), 2)
        told["report_interval"] = [point.report.low, point.report.high]
    return told


def main() -> None:
    """Reads the command line and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="run/fashion-mini", help="the demo's folder")
    parser.add_argument("--quick", action="store_true", help="don't time a second call of scripts/demo")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--record", help="also write the JSON to this file")
    args = parser.parse_args()
    found = measure(Path(args.run), again=not args.quick)
    if args.record:
        Path(args.record).write_text(json.dumps(found, indent=1) + "\n")
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if name != "about":
                print(f"{name:28} {value}", file=sys.stdout)


if __name__ == "__main__":
    main()
