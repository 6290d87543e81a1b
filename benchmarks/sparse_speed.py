"""Pruned networks and layers against the fastest dense runtime there is: how many times faster the files really are.

A network is pruned by flyweight's own step, exported by flyweight, and opened in ONNX Runtime with the sparse kernels.
It is timed in turns with its dense twin in ONNX Runtime, OpenVINO and LiteRT, float32 and int8, each runtime in a
process of its own; ratios are to the fastest of them in the same run. Layers are timed alone, through the kernels' C
interface, beside what the processor could do at most.

    python benchmarks/sparse_speed.py --quick                     # minutes: one network, three sparsities, some layers
    python benchmarks/sparse_speed.py --record benchmarks/results/sparse_speed.json
    python benchmarks/sparse_speed.py --model mobilenet_v2 --block 4x1 --sparsity 0.9 --json
    python benchmarks/sparse_speed.py --path avx2 --record benchmarks/results/sparse_speed_avx2.json

A runtime that is not installed is left out, and told. LiteRT's files are made by litert-torch, which brings jax along,
so it may live in a Python of its own: --litert-python, or FLYWEIGHT_LITERT_PYTHON (benchmarks/README.md says how).
With --path avx2 all runtimes, dense ones too, run on a processor that says it has no AVX-512 (avx2_cap.c).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

BLOCKS, SPARSITIES = ("1x1", "2x1", "4x1", "8x1", "16x1"), (0.5, 0.8, 0.9, 0.95)
NETS = ("mobilenet_v2", "minilm", "minilm-16", "resnet18")


def main() -> None:
    """Reads the command line, measures, and prints the table or one object."""
    args = _arguments()
    _on_path(args)
    from sparse_speed_all import measure
    from sparse_speed_table import table, targets

    real = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no part of the answer
    start = time.time()
    found = measure(args, _litert_python(args))
    found["targets"] = targets(found)
    found["seconds"] = round(time.time() - start)
    os.dup2(real, 1)
    if args.record:
        Path(args.record).parent.mkdir(parents=True, exist_ok=True)
        Path(args.record).write_text(json.dumps(found, indent=1) + "\n")
    if args.json:
        print(json.dumps(flat(found) if args.model and sum(map(_sparse, found["networks"])) == 1 else found))
    else:
        print(table(found))


def flat(found: dict[str, Any]) -> dict[str, Any]:
    """Of a run of one point: its row, and what the run has besides, in one object."""
    rest = {name: value for name, value in found.items() if name not in ("networks", "layers")}
    (row,) = (r for r in found["networks"] if _sparse(r))
    return {**row, "dense": [r for r in found["networks"] if not _sparse(r)], **rest}


def _sparse(row: dict[str, Any]) -> bool:
    return bool(row["group"] == "sparse")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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


def _litert_python(args: argparse.Namespace) -> str:
    return args.litert_python or sys.executable


def _on_path(args: argparse.Namespace) -> None:
    """Starts this script anew where the path asked for needs an environment of its own."""
    if args.path is None:
        return
    wanted = {"FLYWEIGHT_KERNELS": args.path}
    if args.path == "avx2" and not hasattr(ctypes.CDLL(None), "avx2_cap_holds"):
        cap = Path(args.out).resolve() / "avx2_cap.so"
        cap.parent.mkdir(parents=True, exist_ok=True)
        source = Path(__file__).with_name("avx2_cap.c")
        command = ["cc", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", str(source), "-o", str(cap)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"--path avx2 caps all runtimes by avx2_cap.c, which needs a C compiler: {error}"
            ) from error
        wanted["LD_PRELOAD"] = str(cap)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if args.path == "avx2" and not ctypes.CDLL(None).avx2_cap_holds():
        raise SystemExit("--path avx2: this system does not let a process hide AVX-512 (arch_prctl, CPUID faulting).")


if __name__ == "__main__":
    main()
