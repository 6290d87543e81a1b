"""What the demo reached: its frontier, the 40× point, the better one at half the bytes, and the time of both calls.

scripts/demo && .venv/bin/python benchmarks/demo.py --json
.venv/bin/python benchmarks/demo.py --run run/fashion-mini --quick      # without timing a second call
.venv/bin/python benchmarks/demo.py --fresh /tmp/clone --record demo.json      # all of it, from a fresh clone
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

ROOT = Path(__file__).resolve().parent.parent


def fresh(clone: Path) -> float:
    """Clones this repository to ``clone`` and runs its demo, environment and install included; the seconds of that."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    with (clone / "demo.log").open("w") as log:
        start = time.perf_counter()
        subprocess.run([str(clone / "scripts" / "demo")], check=True, stdout=log, stderr=subprocess.STDOUT)
        return time.perf_counter() - start


def measure(folder: Path, script: Path | None) -> dict[str, Any]:
    """The figures as one JSON object; the points are chosen on select and told by report, where it was read.

    With ``script`` it is called again, and timed.
    """
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
    if script is not None:
        start = time.perf_counter()
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
    parser.add_argument("--fresh", metavar="FOLDER", help="clone the repository there, and time its demo from nothing")
    parser.add_argument("--quick", action="store_true", help="don't time a second call of scripts/demo")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--record", help="also write the JSON to this file")
    args = parser.parse_args()
    clone = Path(args.fresh).resolve() if args.fresh else ROOT
    whole = {"whole_command_s": round(fresh(clone), 1)} if args.fresh else {}
    run = clone / "run" / "fashion-mini" if args.fresh else Path(args.run)
    found = measure(run, None if args.quick else clone / "scripts" / "demo") | whole
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
