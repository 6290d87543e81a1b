"""The process that measures: ``python -m flyweight.measure.probe``, a request in JSON in, the findings in JSON out.

It starts without torch, so that what it measures is the artifact in its runtime and nothing else. Whatever a
library prints goes to stderr; stdout carries one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight.core.errors import FlyweightError
from flyweight.measure.energy import energy, find_counter
from flyweight.measure.inputs import make_inputs, read_inputs
from flyweight.measure.latency import latency
from flyweight.measure.memory import peak_memory
from flyweight.measure.profile import time_by_op
from flyweight.measure.session import Port

if TYPE_CHECKING:
    from flyweight.measure.session import Array, Session

_EMPTY_SECONDS = 0.03
"""Timing of a call that computes nothing: microseconds each, so thousands."""

_CALLS = 3
"""Calls after which memory has reached its peak: arenas grow in the first."""


def main() -> None:
    """Reads a request from stdin, does it, and writes what was found, or the error, to stdout."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        answer: dict[str, Any]
        try:
            request = json.loads(sys.stdin.read())
            answer = {"found": _JOBS[request["job"]](request)}
        except FlyweightError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        answer["torch"] = "torch" in sys.modules
        out.write(json.dumps(answer) + "\n")


def _latency(request: Mapping[str, Any]) -> dict[str, Any]:
    """Every path's latency, interleaved, and what the runtime says of it."""
    opened = [_open(request, path) for path in request["paths"]]
    inputs = [_inputs(request, session) for session in opened]
    times = latency([_call(s, a) for s, a in zip(opened, inputs, strict=True)], request["seconds"])
    nothing = _open(request, request["empty"])
    (empty,) = latency([_call(nothing, make_inputs(nothing.inputs))], _EMPTY_SECONDS)
    counter, why = find_counter(opened[0].device, request.get("meter"))
    return {
        "empty_call_ms": empty.median_ms,
        "runtime": opened[0].runtime,
        "counter": counter.name if counter else None,
        "no_counter": why,
        "models": [
            {
                "latency": asdict(found),
                "batch": len(arrays[0]) if arrays and arrays[0].ndim else 1,
                "ports": [asdict(p) for p in session.inputs],
                "time_by_op": time_by_op(session, arrays, found.median_ms),
            }
            for session, arrays, found in zip(opened, inputs, times, strict=True)
        ],
    }


def _memory(request: Mapping[str, Any]) -> dict[str, Any]:
    """One path's peak memory, from opening it to its third call, and the time that opening it took."""
    runtime = _runtime(request["runtime"])
    library = getattr(sys.modules[runtime.__module__], "library", None)
    if library is not None:
        library()  # the process that has the runtime imported and nothing opened is what the peak is over
    ports = [Port(p["name"], tuple(p["shape"]), p["dtype"]) for p in request.get("ports", ())]
    arrays = read_inputs(request["inputs"]) if request["inputs"] else make_inputs(ports, request["batch"])
    load_ms = 0.0

    def action() -> None:
        nonlocal load_ms
        start = time.perf_counter()
        session = runtime(Path(request["path"]), threads=request["threads"])
        load_ms = (time.perf_counter() - start) * 1000
        given = arrays or make_inputs(session.inputs, request["batch"])
        for _ in range(_CALLS):
            session(*given)

    return {**asdict(peak_memory(action)), "load_ms": load_ms}


def _energy(request: Mapping[str, Any]) -> dict[str, Any]:
    """One path's energy a call."""
    session = _open(request, request["path"])
    counter, why = find_counter(session.device, request.get("meter"))
    if counter is None:
        return {"millijoules": None, "counter": "", "why": why}
    return asdict(energy(_call(session, _inputs(request, session)), counter))


_JOBS = {"latency": _latency, "memory": _memory, "energy": _energy}


def _open(request: Mapping[str, Any], path: str) -> Session:
    session: Session = _runtime(request["runtime"])(Path(path), threads=request["threads"])
    return session


def _runtime(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise FlyweightError(
            f"FlyweightError: the runtime {dotted!r} cannot be imported ({error}). Name it module:function."
        ) from error


def _inputs(request: Mapping[str, Any], session: Session) -> list[Array]:
    given = request["inputs"]
    return read_inputs(given) if given else make_inputs(session.inputs, request["batch"])


def _call(session: Session, arrays: list[Array]) -> Any:
    return lambda: session(*arrays)


if __name__ == "__main__":
    main()
