"""The rows of whole networks: dense and sparse files, checked, and timed in turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_speed.bench import NO_AMX, Bench, say
from sparse_speed.nets import Net, expected, fix_batch, made, write_onnx, write_tflites
from sparse_speed.rounds import Candidate, Timed, ratio

_MOST_ERROR = 1e-3
"""Of a float file's outputs, of the largest one: beyond it something else was computed."""


def network(bench: Bench, net: Net) -> list[dict[str, Any]]:
    """A row for every dense runtime and every sparse file of a network, at every number of threads."""
    args, folder = bench.args, bench.out / net.name
    folder.mkdir(exist_ok=True)
    candidates, wanted = _dense(bench, net, folder), {}
    inputs, dense_bytes = str(folder / "inputs.npz"), (folder / "dense-fp32.onnx").stat().st_size
    for block, sparsity, int8 in args.points:
        if int8 and not net.images:
            continue
        name = f"{block[0]}x{block[1]}-{sparsity:g}{'-int8' if int8 else ''}"
        path = folder / f"{name}.onnx"
        model, brought = made(net, block, sparsity, int8)
        # The control is sparse kernels on weights without zeros, which the exporter would never choose by itself.
        notes = write_onnx(model, brought, path, "auto" if sparsity else "all")
        wanted[name] = expected(model, net)
        say(f"{net.name} {name}: {path.stat().st_size} bytes. {' '.join(notes)}")
        about = {"block": f"{block[0]}x{block[1]}", "sparsity": sparsity, "int8": int8, "notes": notes}
        about |= {"size_bytes": path.stat().st_size, "size_ratio": path.stat().st_size / dense_bytes}
        candidates += [Candidate(name, "sparse", "onnxruntime", t, str(path), inputs, about) for t in args.threads]
    found = bench.timed(candidates)
    return [_row(net, one, found, wanted) for one in found.values()]


def _dense(bench: Bench, net: Net, folder: Path) -> list[Candidate]:
    """Dense files, made once and kept: fp32 and int8 for ONNX Runtime and OpenVINO, and those of LiteRT."""
    files = {
        g: folder / f"dense-{g}" for g in ("fp32", "int8")[: 2 if net.images and "int8" not in bench.args.skip else 1]
    }
    example = net.inputs(1)
    np.savez(folder / "inputs.npz", **{f"x{i}": t.numpy() for i, t in enumerate(example)})
    last = [t.permute(0, 2, 3, 1) if t.dim() == 4 else t for t in example]
    np.savez(folder / "inputs-last.npz", **{f"x{i}": np.ascontiguousarray(t.numpy()) for i, t in enumerate(last)})
    candidates = []
    for group, file in files.items():
        if not file.with_suffix(".onnx").exists():
            model, brought = made(net, (1, 1), 0.0, int8=group == "int8")
            write_onnx(model, brought, file.with_suffix(".free.onnx"), "none")
            fix_batch(file.with_suffix(".free.onnx"), file.with_suffix(".onnx"))
            np.savez(file.with_suffix(".npz"), expected(model, net))
        if "litert" not in bench.absent and not file.with_suffix(".tflite").exists():
            _tflite(bench, net, file, group)
        kinds = [(k, k, ".onnx") for k in ("onnxruntime", "openvino")] + [("litert", "litert", ".tflite")]
        kinds += [("onnxruntime, free batch", "onnxruntime", ".free.onnx")]
        for name, kind, ending in kinds:
            path = file.with_suffix(ending)
            if kind in bench.absent or not path.exists():
                continue
            arrays = folder / ("inputs-last.npz" if kind == "litert" else "inputs.npz")
            about = {"int8": group == "int8", "size_bytes": path.stat().st_size}
            candidates += [
                Candidate(f"{name} {group}", group, kind, t, str(path), str(arrays), about) for t in bench.args.threads
            ]
        if group == "int8" and "openvino" not in bench.absent and bench.amx:
            path, arrays = file.with_suffix(".onnx"), folder / "inputs.npz"
            about = {"int8": True, "size_bytes": path.stat().st_size}
            candidates += [
                Candidate(f"openvino int8, {NO_AMX}", NO_AMX, "openvino", t, str(path), str(arrays), about)
                for t in bench.args.threads
            ]
    return candidates


def _tflite(bench: Bench, net: Net, file: Path, group: str) -> None:
    calibrate = None
    if group == "int8":
        calibrate = file.with_suffix(".calibrate.npz")
        np.savez(calibrate, **{f"x{i}": t.permute(0, 2, 3, 1).numpy() for i, t in enumerate(net.inputs(4))})
    model, _ = made(net, (1, 1), 0.0)
    if why := write_tflites([(model, net.inputs(1), file.with_suffix(".tflite"))], bench.litert_python, calibrate):
        say(f"{net.name} {group} in LiteRT: {why}")
        bench.absent[f"litert, {net.name} {group}"] = why


def _row(net: Net, one: Timed, found: dict[str, Timed], wanted: dict[str, Any]) -> dict[str, Any]:
    c = one.candidate
    row: dict[str, Any] = {"model": net.name, "what": c.name, "group": c.group, "threads": c.threads, **c.about}
    if one.why:
        return row | {"latency_ms": None, "why": one.why}
    row |= {"latency_ms": one.ms, "least_ms": one.least_ms, "rounds_ms": [float(f"{r:.4g}") for r in one.rounds]}
    if one.ops_us:
        row["ops_us"] = {op: round(us, 1) for op, us in sorted(one.ops_us.items(), key=lambda i: -i[1])}
    right = wanted.get(c.name)
    if right is None:
        right = _read(Path(c.path).with_name(f"dense-{'int8' if row['int8'] else 'fp32'}.npz"))
    if one.outputs[0].dtype == right.dtype:  # LiteRT's int8 files give out integers
        row["error"] = float(np.abs(one.outputs[0] - right).max() / np.abs(right).max())
    if not row["int8"] and row["error"] > _MOST_ERROR:
        row["why"] = f"computes something else: {row['error']:.2g} of the largest output away"
    for group in ("fp32", "int8"):
        row |= _against(one, found, group)
    alone = found.get(replace(c, threads=1).key)
    if c.threads > 1 and alone is not None and alone.rounds:
        row["ratio_one_thread"] = ratio(alone, one)["ratio"]
    return row


def _against(one: Timed, found: dict[str, Timed], group: str) -> dict[str, Any]:
    """The ratio to the fastest dense runtime of the same number of threads."""
    rivals = [
        t
        for t in found.values()
        if t.candidate.group == group and t.candidate.threads == one.candidate.threads and t.rounds
    ]
    if not rivals:
        return {f"best_dense_{group}": None, f"ratio_best_dense_{group}": None}
    best = min(rivals, key=lambda t: t.ms)
    compared = ratio(best, one)
    name = {"best_dense": best.candidate.name} if group == "fp32" else {}
    return {
        **name,
        f"best_dense_{group}": best.candidate.name,
        f"best_dense_{group}_ms": best.ms,
        f"ratio_best_dense_{group}": compared["ratio"],
        f"ratio_best_dense_{group}_quartiles": compared["quartiles"],
        f"ratio_of_least_{group}": min(t.least_ms for t in rivals) / one.least_ms,
        f"dense_{group}_ms": {t.candidate.name: t.ms for t in rivals},
    }


def _read(path: Path) -> Any:
    with np.load(path) as read:
        return read[read.files[0]]
