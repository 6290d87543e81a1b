"""The command line of ``sparse_speed.py``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from sparse_speed.path import on_path

BLOCKS, SPARSITIES = ("1x1", "2x1", "4x1", "8x1", "16x1"), (0.5, 0.8, 0.9, 0.95)
NETS = ("mobilenet_v2", "minilm", "minilm-16", "resnet18")


def main(about: str) -> None:
    """Reads the command line, whose help begins with ``about``, measures, and prints the table or one object."""
    args = _arguments(about)
    on_path(args.path, Path(args.out).resolve())
    # What reads the environment is loaded once that is as it should be.
    from sparse_speed.measure import measure
    from sparse_speed.table import table, targets

    real = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no part of the answer
    start = time.time()
    found = measure(args, args.litert_python or sys.executable)
    found["targets"] = targets(found)
    found["seconds"] = round(time.time() - start)
    os.dup2(real, 1)
    if args.record:
        Path(args.record).parent.mkdir(parents=True, exist_ok=True)
        Path(args.record).write_text(json.dumps(found, indent=1) + "\n")
    if args.json:
        print(json.dumps(_flat(found) if args.model and sum(map(_sparse, found["networks"])) == 1 else found))
    else:
        print(table(found))


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    """Of a run of one point: its row, and what the run has besides, in one object."""
    rest = {name: value for name, value in found.items() if name not in ("networks", "layers")}
    (row,) = (r for r in found["networks"] if _sparse(r))
    return {**row, "dense": [r for r in found["networks"] if not _sparse(r)], **rest}


def _sparse(row: dict[str, Any]) -> bool:
    return bool(row["group"] == "sparse")


def _arguments(about: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="mobilenet_v2, 4x1, few rounds, three layers")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, and nothing else")
    parser.add_argument("--record", help="also write the JSON to this file")
    parser.add_argument("--out", default="run/sparse_speed", help="where files are kept; dense ones are made once")
    parser.add_argument("--model", help=f"one network: {', '.join(NETS)}, tiny; no layers")
    parser.add_argument("--block", nargs="+", help="as 4x1; int8 goes with 4x4. All, if not given")
    parser.add_argument("--sparsity", nargs="+", type=float, help="of each layer; 0 is the control")
    parser.add_argument("--int8", action="store_true", help="with --block 4x4: quantized too")
    parser.add_argument("--threads", nargs="+", type=int, help="1 2, and with --model 1, if not given")
    parser.add_argument("--path", choices=("avx512", "avx2", "portable"), help="force the kernels' path")
    parser.add_argument("--rounds", type=int, help="turns of each candidate: 15, with --quick 5")
    parser.add_argument("--ms", type=float, default=40.0, help="length of a turn")
    parser.add_argument("--ahead", action="store_true", help="time ahead of all other processes, where that is allowed")
    parser.add_argument("--litert-python", default=os.environ.get("FLYWEIGHT_LITERT_PYTHON"))
    parser.add_argument("--skip", nargs="*", default=[], choices=("layers", "networks", "int8", "openvino", "litert"))
    args = parser.parse_args()
    one = args.model is not None
    args.nets = [args.model] if one else ["mobilenet_v2"] if args.quick else list(NETS)
    args.rounds = args.rounds or (5 if args.quick else 15)
    args.threads = args.threads or ([1] if one or args.quick else [1, 2])
    if one and "layers" not in args.skip:
        args.skip.append("layers")
    if args.ahead:
        _check_ahead()
    args.points = _points(args)
    return args


def _check_ahead() -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    except PermissionError as error:
        raise SystemExit("--ahead: this user may not give a process real-time priority. Leave it out.") from error
    os.sched_setscheduler(0, *before)


def _points(args: argparse.Namespace) -> list[tuple[tuple[int, int], float, bool]]:
    """Block, sparsity and whether int8, of every sparse file of a network."""
    blocks = args.block or (["4x1"] if args.quick else [*BLOCKS, "4x4"])
    sparsities = args.sparsity if args.sparsity is not None else [0.8, 0.9] if args.quick else list(SPARSITIES)
    points = []
    for block in blocks:
        rows, _, columns = block.partition("x")
        if not (rows.isdigit() and columns.isdigit()):
            raise SystemExit(f"--block {block}: give rows x columns, as in 4x1.")
        int8 = block == "4x4" and (args.int8 or not args.block)
        if not (int8 and "int8" in args.skip):
            points += [((int(rows), int(columns)), s, int8) for s in sparsities]
    if args.sparsity is None:
        points.append(((4, 1), 0.0, False))  # the control: what the kernels alone do
    return points
