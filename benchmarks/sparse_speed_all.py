"""What ``sparse_speed.py`` measures: the candidates of each network and layer, checked, timed in turns, as rows."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sparse_speed_layers import (
    Layer,
    Negative,
    image,
    integer_inputs,
    integer_reference,
    kernel_inputs,
    layers,
    reference,
    torch_layer,
    write_empty_onnx,
    write_layer_onnx,
)
from sparse_speed_nets import Net, expected, fix_batch, made, nets, write_onnx, write_tflites
from sparse_speed_rounds import Candidate, Timed, Workers, ratio, timed

from flyweight.kernels.library import why_not
from flyweight.measure.host import host

_DENSE = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}
_MOST_ERROR = 1e-3
"""Of a float file's outputs, of the largest one: beyond it something else was computed."""

_NO_AMX = "without AMX"
"""OpenVINO multiplies bytes in AMX tiles where there are any. Told beside, to say what that makes; never the rival."""

_LAYER_PART = 1 / 8
"""A layer takes a small part of a network's time, and so do its turns."""

_QUICK_LAYERS = ("24->144 1x1 56", "96->576 1x1 14", "384->1536 128 tokens")


class Bench:
    """One run: its settings, its processes, and what is absent."""

    def __init__(self, args: argparse.Namespace, litert_python: str) -> None:
        self.args, self.litert_python = args, litert_python
        self.out = Path(args.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        no_amx = {_NO_AMX: {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}}
        self.workers = Workers({"litert": litert_python}, no_amx, args.ahead)
        self.absent = absent(args, litert_python)
        self.versions: dict[str, str] = {}
        self.amx = "amx_int8" in host()["isa"] and args.path != "avx2"

    def runtimes(self) -> list[str]:
        """The dense runtimes that are there."""
        return [name for name in _DENSE if name not in self.absent]

    def timed(self, candidates: Sequence[Candidate], part: float = 1.0) -> dict[str, Timed]:
        """All of them, in turns of that ``part`` of the usual length."""
        found = timed(self.workers, candidates, self.args.rounds, part * self.args.ms, self.out)
        self.versions |= {t.candidate.kind: t.version for t in found.values() if t.version}
        for one in found.values():
            if one.why:
                say(f"  {one.candidate.key}: {one.why}")
        return found


def measure(args: argparse.Namespace, litert_python: str) -> dict[str, Any]:
    """The rows of all networks and layers, the machine's figures, and who was there."""
    if reason := why_not():
        raise SystemExit(f"The sparse kernels are not used: {reason}.")
    bench = Bench(args, litert_python)
    for name, reason in bench.absent.items():
        say(f"{name} is left out: {reason}")
    try:
        before = _machine(bench)
        networks = [] if "networks" in args.skip else [r for n in args.nets for r in network(bench, nets()[n])]
        alone = [] if "layers" in args.skip else every_layer(bench, before)
        after = _machine(bench)
    finally:
        bench.workers.close()
    machine = {k: (max(v, after[k]) if isinstance(v, float) else v) for k, v in before.items()}
    return {
        "networks": networks,
        "layers": alone,
        "path": machine["path"],
        "capped_to_avx2": args.path == "avx2",
        "machine": machine,
        "runtimes": bench.versions,
        "absent": bench.absent,
        "rounds": args.rounds,
        "ahead_of_other_processes": args.ahead,
        "turn_ms": args.ms,
        "host": host(),
    }


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def absent(args: argparse.Namespace, litert_python: str) -> dict[str, str]:
    """The dense runtimes that cannot be asked, and why."""
    found = {name: "skipped" for name in ("openvino", "litert") if name in args.skip}
    if "openvino" not in found and importlib.util.find_spec("openvino") is None:
        found["openvino"] = "not installed: pip install openvino"
    if "litert" not in found:
        command = [litert_python, "-c", "import ai_edge_litert.interpreter"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            found["litert"] = "not installed: pip install ai-edge-litert, and see benchmarks/README.md for its files"
    return found


def _machine(bench: Bench) -> dict[str, Any]:
    found = bench.workers.ask("kernel:1", {"job": "machine"})
    if "error" in found:
        raise SystemExit(f"The kernels' library does not tell what the machine can do: {found['error']}")
    return found


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
                Candidate(f"openvino int8, {_NO_AMX}", _NO_AMX, "openvino", t, str(path), str(arrays), about)
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


def every_layer(bench: Bench, machine: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of all layers."""
    folder = bench.out / "layers"
    folder.mkdir(exist_ok=True)
    wanted = [x for x in layers() if not bench.args.quick or x.name in _QUICK_LAYERS]
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
        from sparse_speed_layers import integers

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
    found = bench.timed(candidates, _LAYER_PART)
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
