"""Int8 at width 1.0: bytes, speed in ONNX Runtime, quality after post-training and aware quantization, and parity.

python benchmarks/int8.py --quick --json
python benchmarks/int8.py --task fashion --epochs 20
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """Trains, quantizes, exports and measures; every network and file is kept under ``--out``."""
    from flyweight import Aware, Quantize, Resize, Store, adam, load_task, run
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.parity import check_parity
    from flyweight.deploy.runtimes.open import open_artifact, runtime_name
    from flyweight.deploy.score import score
    from flyweight.measure.footprint import footprints
    from flyweight.measure.host import host

    task, store, out = load_task(args.task), Store(args.out), Path(args.out)
    train = replace(task.train, epochs=args.epochs, augment=task.augment)
    tune = replace(train, epochs=max(1, args.epochs // 5), optimizer=adam(lr=train.optimizer.lr / 10))
    start = (Resize(1.0), train)
    recipes = {
        "float": start,
        "float, tuned as long": (*start, tune),
        "int8 post-training": (*start, Quantize(bits=8)),
        "int8 aware": (*start, Quantize(bits=8, aware=Aware()), tune),
    }
    rows: dict[str, dict[str, Any]] = {}
    files = []
    for name, recipe in recipes.items():
        model = run(recipe, task.model, task, store)
        artifact = export_onnx(model, task, out / "models" / f"{name.replace(' ', '-').replace(',', '')}.onnx")
        session = open_artifact(artifact.path)
        rows[name] = {
            "parity": check_parity(model, artifact, task),
            "select": score(session, task, "select").value,
            "report": score(session, task, "report").value,
        }
        files.append(artifact.path)
        print(f"[{time.strftime('%H:%M:%S')}] {name}: {rows[name]}", file=sys.stderr, flush=True)
    for row, found in zip(
        rows.values(), footprints(files, runtime=runtime_name("onnxruntime"), baseline=files[0], threads=1), strict=True
    ):
        row |= {"size_bytes": found.size_bytes, "latency_ms": found.latency_ms, "speedup": found.speedup}
        row |= {"latency_iqr_ms": found.latency_iqr_ms, "peak_memory_bytes": found.peak_memory_bytes}
    twin, aware, after = rows["float"], rows["int8 aware"], rows["int8 post-training"]
    best = rows["float, tuned as long"]
    return {
        "times_smaller": twin["size_bytes"] / aware["size_bytes"],
        "times_faster": aware["speedup"],
        "aware_drop_points": 100 * (twin["report"] - aware["report"]),
        "aware_drop_points_from_a_twin_tuned_as_long": 100 * (best["report"] - aware["report"]),
        "post_training_drop_points": 100 * (twin["report"] - after["report"]),
        "top1_equal": aware["parity"]["top1_equal"],
        "max_steps": aware["parity"]["max_steps"],
        "rows": rows,
        "task": args.task,
        "epochs": args.epochs,
        "host": host(),
    }


def main() -> None:
    """Reads the command line and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four epochs of fashion-mini")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--task", default="fashion-mini")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", default="run/int8")
    parser.add_argument("--record", help="also write the JSON to this file")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.out = 4, f"{args.out}-quick"
    found = measure_all(args)
    if args.record:
        Path(args.record).write_text(json.dumps(found, indent=1) + "\n")
    if args.json:
        print(json.dumps(found))
        return
    for name in ("times_smaller", "times_faster", "aware_drop_points", "aware_drop_points_from_a_twin_tuned_as_long"):
        print(f"{name:45} {found[name]:.2f}")
    for name in ("post_training_drop_points", "top1_equal", "max_steps"):
        print(f"{name:45} {found[name]:.4g}")


if __name__ == "__main__":
    main()
