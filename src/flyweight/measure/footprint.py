"""The footprints of artifacts: all that can be counted on the file, and measured in fresh processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flyweight.core.errors import FlyweightError
from flyweight.core.footprint import Footprint
from flyweight.measure.child import Answer, ask
from flyweight.measure.empty import write_empty
from flyweight.measure.float_nodes import float_nodes
from flyweight.measure.graph import read_graph
from flyweight.measure.host import host
from flyweight.measure.inputs import write_inputs
from flyweight.measure.latency import Latency, speedup
from flyweight.measure.macs import macs
from flyweight.measure.parameters import parameters, place_bytes, weight_bytes, zero_share
from flyweight.measure.size import gzip_bytes, size_bytes

if TYPE_CHECKING:
    from flyweight.measure.session import Array

_TOGETHER = 32
"""Artifacts timed in turns in one process, all of them open: more than a frontier has, or its times don't compare."""

_PATIENCE_S = 120.0

_TIMES = ("latency_ms", "latency_iqr_ms", "latency_p90_ms", "speedup")
_UNTIMED = ("peak_memory_bytes", "load_ms", "energy_mj")


Depth = Literal["counts", "latency", "memory"]
"""How far measuring goes: what is counted on the file; times as well; memory, load time and energy as well."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How to measure: in which ``runtime`` (``module:function``), on how many ``threads``, a ``batch`` of how many.

    ``seconds`` of timing an artifact; ``meter`` is the dotted name of a function that returns joules; a process that
    takes longer than ``timeout`` seconds is stopped, by default two minutes and twenty times the timing.
    """

    runtime: str
    threads: int = 1
    batch: int = 1
    seconds: float = 1.0
    meter: str | None = None
    timeout: float | None = None

    def ask(self, job: str, inputs: str | None, count: int = 1, **more: Any) -> Answer:
        """Has a fresh process do ``job``."""
        request = {
            "job": job,
            "runtime": self.runtime,
            "threads": self.threads,
            "batch": self.batch,
            "seconds": self.seconds,
            "meter": self.meter,
            "inputs": inputs,
            **more,
        }
        return ask(request, self.timeout or _PATIENCE_S + 20 * self.seconds * count)


def footprints(
    paths: Sequence[Path | str],
    *,
    runtime: str,
    baseline: Path | str | None = None,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 1.0,
    inputs: Sequence[Array] | None = None,
    meter: str | None = None,
    timeout: float | None = None,
    upto: Depth = "memory",
    within: float | None = None,
) -> list[Footprint]:
    """The footprint of each of ``paths``, in order; see :class:`Bench` for the arguments.

    Bytes, parameters and multiply-accumulates are counted on the file. Latencies are taken interleaved, up to 32
    files and the ``baseline`` in one process, so ``speedup`` compares like with like; peak memory, with the time that
    opening takes, in one fresh process a file. ``inputs`` are the arrays of one call for every file (made from the
    file's own shapes otherwise). ``upto`` leaves out what comes after it: ``"counts"`` starts no process, and
    ``"latency"`` times alone. After ``within`` seconds memory and energy are asked of no more files. What could not be
    measured is None, and ``why`` says the reason. Raises :class:`ArtifactError` for a file that is missing or damaged,
    or that the runtime cannot open.
    """
    if threads < 1 or batch < 1 or not seconds > 0:
        raise FlyweightError(
            f"FlyweightError: threads={threads}, batch={batch}, seconds={seconds:g} measure nothing. Give more than 0."
        )
    bench = Bench(runtime=runtime, threads=threads, batch=batch, seconds=seconds, meter=meter, timeout=timeout)
    end = None if within is None else time.monotonic() + within
    files = [Path(p).resolve() for p in paths]
    base = None if baseline is None else Path(baseline).resolve()
    sheets = [_counted(file, batch) for file in files]
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
        given = None
        if inputs is not None:
            given = f"{folder}/inputs.npz"
            write_inputs(inputs, given)
        empty = write_empty(Path(folder) / "empty.onnx")
        for start in range(0, 0 if upto == "counts" else len(files), _TOGETHER):
            _timed(sheets[start : start + _TOGETHER], base, bench, given, str(empty))
        for sheet in sheets:
            if upto != "memory":
                sheet.missing("not asked for", *(_UNTIMED if upto == "latency" else (*_TIMES, *_UNTIMED)))
            elif end is not None and time.monotonic() >= end:
                sheet.missing("the time limit left no time for it", *_UNTIMED)
            else:
                _opened(sheet, _hurried(bench, end), given)
    about = host()
    return [sheet.footprint(bench, about) for sheet in sheets]


@dataclass
class _Sheet:
    """What is known of one file so far."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    ports: Sequence[Any] = ()
    counter: str | None = None

    def missing(self, why: str, *names: str) -> None:
        """Notes that ``names`` were not measured."""
        self.why.update(dict.fromkeys(names, why))

    def footprint(self, bench: Bench, about: dict[str, Any]) -> Footprint:
        """The finished footprint."""
        detail = {
            "runtime": bench.runtime,
            "threads": bench.threads,
            "batch": bench.batch,
            "host_cpu": about["cpu"],
            "isa": about["isa"],
            **self.detail,
        }
        return Footprint(**self.values, why=self.why, detail=detail)


def _counted(path: Path, batch: int) -> _Sheet:
    sheet = _Sheet(path)
    graph = read_graph(path, batch)
    found = macs(graph)
    stored = weight_bytes(graph)
    size = size_bytes(graph.files)
    sheet.values = {
        "size_bytes": size,
        "gzip_bytes": gzip_bytes(graph.files),
        "parameters": parameters(graph),
        "macs": found.count,
    }
    if found.count is None:
        sheet.missing(found.why, "macs")
    sheet.detail = {
        "uncounted_ops": list(found.uncounted),
        "weight_bytes": stored,
        "graph_bytes": size - stored,
    }
    zeros = zero_share(graph)
    if zeros is not None:
        sheet.detail["zero_share"] = round(zeros, 4)
    if found.dense is not None and found.dense != found.count:
        sheet.detail["macs_dense"] = found.dense
    if found.nonzero is not None:
        sheet.detail["macs_nonzero"] = found.nonzero
    if where := place_bytes(graph):
        sheet.detail["place_bytes"] = where
    left = float_nodes(graph)
    if left is not None:
        sheet.detail["float_nodes"] = list(left)
        sheet.detail["float_ops"] = list(dict.fromkeys(name.partition(" ")[0] for name in left))
    return sheet


def _timed(sheets: Sequence[_Sheet], base: Path | None, bench: Bench, inputs: str | None, empty: str) -> None:
    paths = [s.path for s in sheets]
    extra = [base] if base is not None and base not in paths else []
    all_paths = [*paths, *extra]
    answer = bench.ask("latency", inputs, len(all_paths), paths=[str(p) for p in all_paths], empty=empty)
    if answer.found is None:
        if len(sheets) > 1:  # one of them may have taken the others with it
            for sheet in sheets:
                _timed([sheet], base, bench, inputs, empty)
            return
        sheets[0].missing(answer.why, *_TIMES)
        sheets[0].missing(f"not tried: {answer.why}", "energy_mj")
        return
    models = answer.found["models"]
    reference = None if base is None else models[all_paths.index(base)]
    for sheet, model in zip(sheets, models, strict=False):
        found = Latency(**model["latency"])
        sheet.ports, sheet.counter = model["ports"], answer.found["counter"]
        sheet.values |= {
            "latency_ms": found.median_ms,
            "latency_iqr_ms": found.iqr_ms,
            "latency_p90_ms": found.p90_ms,
        }
        sheet.detail |= {
            "runtime": answer.found["runtime"],
            "batch": model["batch"],
            "n": found.n,
            "rounds_ms": list(found.rounds_ms),
            "time_by_op": model["time_by_op"],
            "empty_call_ms": answer.found["empty_call_ms"],
            "probe_had_torch": answer.about["torch"],
        }
        if reference is None:
            sheet.missing("no baseline was given", "speedup")
        elif reference["batch"] != model["batch"]:
            why = f"the baseline's file takes {reference['batch']} examples a call, this one {model['batch']}"
            sheet.missing(why, "speedup")
        else:
            ratio, low, high = speedup(Latency(**reference["latency"]), found)
            sheet.values["speedup"] = ratio
            sheet.detail["speedup_quartiles"] = [low, high]
        if sheet.counter is None:
            sheet.missing(answer.found["no_counter"], "energy_mj")


def _hurried(bench: Bench, end: float | None) -> Bench:
    """``bench``, whose processes are stopped at ``end``, and a second after they began at the earliest."""
    if end is None:
        return bench
    left = max(1.0, end - time.monotonic())
    return replace(bench, timeout=min(left, bench.timeout or _PATIENCE_S))


def _opened(sheet: _Sheet, bench: Bench, inputs: str | None) -> None:
    answer = bench.ask("memory", inputs, path=str(sheet.path), ports=sheet.ports)
    if answer.found is None:
        sheet.missing(answer.why, "peak_memory_bytes", "load_ms")
    else:
        sheet.values |= {"peak_memory_bytes": answer.found["peak_bytes"], "load_ms": answer.found["load_ms"]}
        sheet.detail["memory_method"] = answer.found["method"]
        if answer.found["peak_bytes"] is None:
            sheet.missing(answer.found["why"], "peak_memory_bytes")
    if sheet.counter is not None:
        answer = bench.ask("energy", inputs, path=str(sheet.path))
        found = answer.found or {"millijoules": None, "why": answer.why, "counter": sheet.counter}
        sheet.values["energy_mj"] = found["millijoules"]
        sheet.detail["energy_counter"] = found["counter"]
        if found["millijoules"] is None:
            sheet.missing(found["why"], "energy_mj")
