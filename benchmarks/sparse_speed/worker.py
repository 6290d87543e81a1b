"""The process in which one runtime runs: requests in JSON, a line each, on stdin; an answer a line on stdout.

One a runtime, so that no library's threads, allocator or settings disturb another's; while one computes, the others are
blocked on a pipe. Nothing of torch is loaded here, and of flyweight only what opens files.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], list[Any]]

_READS = {"L1": 16 << 10, "L2": 768 << 10, "L3": 12 << 20, "memory": 512 << 20}
"""Bytes that are read over and over: they fit into the cache that they are named after, and not into the one before."""


def main() -> None:
    """Answers until stdin ends."""
    held: dict[str, Call] = {}
    if "--ahead" in sys.argv:  # the threads that libraries start inherit it
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what libraries print is no answer
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = _JOBS[request["job"]](held, request)
            except Exception as error:  # a runtime may raise anything: it is the row's reason, not the end
                answer = {"error": f"{type(error).__name__}: {error}"[:400]}
            out.write(json.dumps(answer) + "\n")
            out.flush()


def _open(held: dict[str, Call], request: dict[str, Any]) -> dict[str, Any]:
    """Opens a file, calls it once on ``inputs``, and leaves what came out in ``outputs``."""
    with np.load(request["inputs"]) as read:
        arrays = [read[name] for name in sorted(read.files)]
    start = time.perf_counter()
    call, version = _OPENERS[request["kind"]](request, arrays)
    found = call()
    seconds = time.perf_counter() - start
    np.savez(request["outputs"], *found)
    held[request["name"]] = call
    return {"version": version, "load_s": round(seconds, 3)}


def _time(held: dict[str, Call], request: dict[str, Any]) -> dict[str, Any]:
    """The median and the least nanoseconds of the calls in a turn of ``ms``, but for the first, which warm caches."""
    call, times = held[request["name"]], []
    gc.disable()
    warm = time.perf_counter_ns() + 1e6 * request["ms"] / 4
    call()
    while time.perf_counter_ns() < warm:
        call()
    end = time.perf_counter_ns() + 1e6 * request["ms"]
    now = 0
    while not times or now < end:
        start = time.perf_counter_ns()
        call()
        now = time.perf_counter_ns()
        times.append(now - start)
    gc.enable()
    return {"ns": float(np.median(times)), "least_ns": min(times)}


def _drop(held: dict[str, Call], request: dict[str, Any]) -> dict[str, Any]:
    """Closes what is open."""
    held.clear()
    gc.collect()
    return {}


def _machine(held: dict[str, Call], request: dict[str, Any]) -> dict[str, Any]:
    """What one thread could do at most, and which kernels are in use."""
    from flyweight.kernels.library import load

    library = load()
    return {
        "path": library.fw_path().decode(),
        "vnni": bool(library.fw_has_vnni()),
        "peak_gflops": library.fw_peak_gflops(),
        "peak_int8_gops": library.fw_peak_int8_gops(),
        "read_gbytes": {name: library.fw_read_gbytes(size) for name, size in _READS.items()},
    }


def _capped(held: dict[str, Call], request: dict[str, Any]) -> dict[str, Any]:
    """Whether CPUID denies AVX-512 in this process."""
    return {"capped": bool(ctypes.CDLL(None).avx2_cap_holds())}  # (found only where it was preloaded)


def _onnxruntime(request: dict[str, Any], arrays: list[Any]) -> tuple[Call, str]:
    from flyweight.deploy.runtimes.onnxruntime import open_session

    return _session(open_session(request["path"], request["threads"]), arrays)


def _openvino(request: dict[str, Any], arrays: list[Any]) -> tuple[Call, str]:
    from flyweight.deploy.runtimes.openvino import open_session

    return _session(open_session(request["path"], request["threads"]), arrays)


def _session(session: Any, arrays: list[Any]) -> tuple[Call, str]:
    return lambda: session(*arrays), session.runtime


def _litert(request: dict[str, Any], arrays: list[Any]) -> tuple[Call, str]:
    """A ``.tflite`` in LiteRT, whose XNNPACK delegate takes what it can by default."""
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    session = Interpreter(model_path=str(Path(request["path"])), num_threads=request["threads"])
    session.allocate_tensors()
    # By name (args_0, args_1, ...): the list has no order that is promised.
    ports = sorted(session.get_input_details(), key=lambda port: port["name"])
    outputs = session.get_output_details()
    given = [(port["index"], _as(port, array)) for port, array in zip(ports, arrays, strict=True)]

    def call() -> list[Any]:
        for index, array in given:
            session.set_tensor(index, array)
        session.invoke()
        return [session.get_tensor(port["index"]) for port in outputs]

    return call, f"litert {version('ai-edge-litert')}"


def _as(port: dict[str, Any], array: Any) -> Any:
    """``array`` as the file takes it: its integers narrower than ONNX's, its images quantized if they are."""
    scale, zero = port["quantization"]
    if scale and array.dtype.kind == "f":
        limits = np.iinfo(port["dtype"])
        array = np.clip(np.rint(array / scale) + zero, limits.min, limits.max)
    return array.astype(port["dtype"])


def _kernel(request: dict[str, Any], arrays: list[Any]) -> tuple[Call, str]:
    """One layer through the C interface."""
    from sparse_speed.kernel import kernel

    return kernel(request, arrays)


def _ops(held: dict[str, Call], request: dict[str, Any]) -> dict[str, Any]:
    """Microseconds a call of an ``.onnx`` file, by operation."""
    from flyweight.deploy.runtimes.onnxruntime import open_session

    with np.load(request["inputs"]) as read:
        arrays = [read[name] for name in sorted(read.files)]
    return {"us": open_session(request["path"], request["threads"]).op_times(arrays, 15)}


_OPENERS = {"onnxruntime": _onnxruntime, "openvino": _openvino, "litert": _litert, "kernel": _kernel}
_JOBS = {"open": _open, "time": _time, "drop": _drop, "machine": _machine, "ops": _ops, "capped": _capped}


if __name__ == "__main__":
    main()
