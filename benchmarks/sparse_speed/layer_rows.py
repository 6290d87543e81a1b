"""The rows of single layers, through the C interface, beside dense files of one operation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sparse_speed.bench import Bench, say
from sparse_speed.layers import (
    Layer,
    Negative,
    image,
    integer_inputs,
    integer_reference,
    integers,
    kernel_inputs,
    layers,
    reference,
    torch_layer,
    write_empty_onnx,
    write_layer_onnx,
)
from sparse_speed.nets import write_tflites
from sparse_speed.rounds import Candidate, Timed, ratio

_PART = 1 / 8
"""A layer takes a small part of a network's time, and so do its turns."""

_QUICK = ("24->144 1x1 56", "96->576 1x1 14", "384->1536 128 tokens")


def every_layer(bench: Bench, machine: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of all layers."""
    folder = bench.out / "layers"
    folder.mkdir(exist_ok=True)
    wanted = [x for x in layers() if not bench.args.quick or x.name in _QUICK]
    if "litert" not in bench.absent:
        import torch

        todo = [x for x in wanted if not _file(folder, x, ".tflite").exists()]
        jobs = [(torch_layer(x), [torch.from_numpy(image(x))], _file(folder, x, ".tflite")) for x in todo]
        if not (folder / "empty.tflite").exists():
            jobs.append((Negative(), [torch.zeros(1, 1)], folder / "empty.tflite"))
        if jobs and (why := write_tflites(jobs, bench.litert_python)):
            say(f"layers in LiteRT: {why}")
    empty = _empty(bench, folder)
    rows = []
    for layer in wanted:
        rows += one_layer(bench, layer, folder, machine, empty)
        best = max(
            (r for r in rows if r["layer"] == layer.name and r.get("ratio")), key=lambda r: r["ratio"], default={}
        )
        say(f"{layer.name}: at best {best.get('ratio')} times, {best.get('block')} at {best.get('sparsity')}")
    return rows


def _file(folder: Path, layer: Layer, ending: str) -> Path:
    return folder / (layer.name.replace("->", "-").replace(" ", "-").replace("/", "s") + ending)


def _empty(bench: Bench, folder: Path) -> dict[str, float]:
    """Milliseconds of an empty call of each runtime, which are taken off its layers' times."""
    write_empty_onnx(folder / "empty.onnx")
    np.savez(folder / "empty.npz", x=np.zeros((1, 1), np.float32))
    files = {name: folder / f"empty.{'tflite' if name == 'litert' else 'onnx'}" for name in bench.runtimes()}
    given = str(folder / "empty.npz")
    found = bench.timed([Candidate(f"empty {n}", "fp32", n, 1, str(p), given) for n, p in files.items() if p.exists()])
    return {t.candidate.kind: t.ms for t in found.values() if t.rounds}


def one_layer(
    bench: Bench, layer: Layer, folder: Path, machine: dict[str, Any], empty: dict[str, float]
) -> list[dict[str, Any]]:
    """A row for each block, sparsity and number of threads."""
    x, last, args = image(layer), folder / "x-last.npz", bench.args
    np.savez(folder / "x.npz", x=x)
    np.savez(last, x=np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if layer.kernel else x)
    int8 = bool(layer.kernel) and any(point[2] for point in args.points)
    onnx = _file(folder, layer, ".onnx")
    write_layer_onnx(layer, onnx, int8=False)
    files = [("onnxruntime", "fp32", onnx, folder / "x.npz"), ("openvino", "fp32", onnx, folder / "x.npz")]
    files.append(("litert", "fp32", _file(folder, layer, ".tflite"), last))
    if int8:
        file, given = _file(folder, layer, "-int8.onnx"), folder / "x8.npz"
        write_layer_onnx(layer, file, int8=True)
        np.savez(given, x=integers(layer, 0.0)[0])
        files += [("onnxruntime", "int8", file, given), ("openvino", "int8", file, given)]
    candidates = [
        Candidate(f"{kind} {group}", group, kind, t, str(path), str(given))
        for kind, group, path, given in files
        if kind not in bench.absent and path.exists()
        for t in args.threads
    ]
    right = {}
    for number, (block, sparsity, integer) in enumerate(args.points):
        if integer and not layer.kernel:
            continue
        given = folder / f"kernel-{number}.npz"
        make = integer_inputs(layer, sparsity, given) if integer else kernel_inputs(layer, block, sparsity, given)
        about = {"block": f"{block[0]}x{block[1]}", "sparsity": sparsity, "int8": integer, "kept": make[1]}
        name = f"{about['block']} {sparsity:g}{' int8' if integer else ''}"
        right[name] = integer_reference(layer, sparsity) if integer else reference(layer, block, sparsity)
        candidates += [Candidate(name, "sparse", "kernel", t, "", str(given), about, make[0]) for t in args.threads]
    found = bench.timed(candidates, _PART)
    ours = [t for t in found.values() if t.candidate.group == "sparse"]
    return [_layer_row(layer, t, found, right[t.candidate.name], machine, empty) for t in ours]


def _layer_row(
    layer: Layer, one: Timed, found: dict[str, Timed], right: Any, machine: dict[str, Any], empty: dict[str, float]
) -> dict[str, Any]:
    c, group = one.candidate, "int8" if one.candidate.about["int8"] else "fp32"
    row: dict[str, Any] = {"model": layer.net, "layer": layer.name, "threads": c.threads, **c.about}
    if one.why:
        return row | {"latency_us": None, "why": one.why}
    peak = machine["peak_int8_gops" if c.about["int8"] else "peak_gflops"] * c.threads
    delivered = 2 * c.about["kept"] * layer.places / (one.ms * 1e6)
    row |= {"latency_us": 1e3 * one.ms, "gflops": delivered, "share_of_peak": delivered / peak if peak else None}
    row["error"] = float(np.abs(one.outputs[0].astype(np.float64) - right).max() / np.abs(right).max())
    if c.about["int8"]:
        row["equal"] = bool((one.outputs[0] == right).all())
    dense = {
        t.candidate.kind: t.ms - empty[t.candidate.kind]
        for t in found.values()
        if t.candidate.group == group and t.candidate.threads == c.threads and t.rounds
    }
    if not dense:
        return row | {"ratio": None}
    best = min(dense, key=lambda kind: dense[kind])
    base = found[f"{best} {group}, {c.threads} threads"]
    compared = ratio(base, one, empty[best])
    row |= {"best_dense": best, "dense_us": {kind: 1e3 * ms for kind, ms in dense.items()}, **compared}
    return row
