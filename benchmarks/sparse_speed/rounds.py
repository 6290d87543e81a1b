"""Runtimes timed in turns: a process each, one turn a round, in an order drawn anew each round."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_PAUSE_S = 0.004
"""Between turns: threads of a pool spin for a while after their work, and would be in the next one's way."""


@dataclass(frozen=True)
class Candidate:
    """A file, or a layer, in a runtime: what is timed. ``group`` is ``"fp32"`` or ``"int8"`` of the dense ones that the
    others are compared with, ``"sparse"``, or the name of a process's environment; ``about`` goes into its row."""

    name: str
    group: str
    kind: str
    threads: int
    path: str
    inputs: str
    about: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """Its name among all that are timed together."""
        return f"{self.name}, {self.threads} threads"


class Workers:
    """The processes, one a runtime (and for layers one a number of threads), started when first asked."""

    def __init__(
        self, pythons: Mapping[str, str], environments: Mapping[str, Mapping[str, str]], ahead: bool = False
    ) -> None:
        self._pythons, self._environments, self._ahead = dict(pythons), dict(environments), ahead
        self._running: dict[str, subprocess.Popen[str]] = {}

    def ask(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the process ``name``; one that died answers with an error, and is started anew next time."""
        process = self._running.get(name) or self._start(name)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._running.pop(name).wait()
        return {"error": f"the process of {name} ended with status {process.returncode}"}

    def close(self) -> None:
        """Ends them."""
        for process in self._running.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        self._running.clear()

    def _start(self, name: str) -> subprocess.Popen[str]:
        python = self._pythons.get(name.partition(":")[0], sys.executable)
        folder = Path(__file__).resolve().parents[1]
        # Another Python has libraries of its own, and gets nothing of this one's but flyweight.
        paths = [str(folder), str(folder.parent / "src"), *(sys.path if python == sys.executable else ())]
        environment = {
            **os.environ,
            "OMP_WAIT_POLICY": "PASSIVE",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(p for p in paths if p)),
            **self._environments.get(name.partition(":")[2], {}),
        }
        log = subprocess.DEVNULL if not os.environ.get("SPARSE_SPEED_LOG") else None
        self._running[name] = subprocess.Popen(
            [python, "-m", "sparse_speed.worker", *(["--ahead"] if self._ahead else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        return self._running[name]


@dataclass(frozen=True)
class Timed:
    """What was found of a candidate: the medians of its rounds in ms, its one fastest call, its version, what it gave
    out, and of ours the microseconds of each kind of operation; or ``why`` not."""

    candidate: Candidate
    rounds: tuple[float, ...] = ()
    least_ms: float = 0.0
    version: str = ""
    outputs: tuple[Any, ...] = ()
    ops_us: Mapping[str, float] = field(default_factory=dict)
    why: str = ""

    @property
    def ms(self) -> float:
        """The median over rounds."""
        return statistics.median(self.rounds)


def timed(workers: Workers, candidates: Sequence[Candidate], rounds: int, ms: float, out: Path) -> dict[str, Timed]:
    """Opens all ``candidates`` and times them in ``rounds`` rounds of ``ms`` each; by their keys."""
    outputs, versions, refused = {}, {}, {}
    for c in candidates:
        kept = out / "outputs.npz"
        request = {"job": "open", "kind": c.kind, "name": c.key, "threads": c.threads, "path": c.path, "spec": c.spec}
        answer = workers.ask(_process(c), {**request, "inputs": c.inputs, "outputs": str(kept)})
        if "error" in answer:
            refused[c.key] = answer["error"]
            continue
        with np.load(kept) as read:
            outputs[c.key] = tuple(read[name] for name in read.files)
        versions[c.key] = answer["version"]
    opened = [c for c in candidates if c.key in versions]
    samples: dict[str, list[float]] = {c.key: [] for c in opened}
    least: dict[str, float] = {}
    ops: dict[str, dict[str, float]] = {}
    order = random.Random(0)
    for _ in range(rounds):
        order.shuffle(opened)
        for c in opened:
            if c.key in refused:
                continue
            time.sleep(_PAUSE_S)
            answer = workers.ask(_process(c), {"job": "time", "name": c.key, "ms": ms})
            if "error" in answer:
                refused[c.key] = answer["error"]
            else:
                samples[c.key].append(answer["ns"] / 1e6)
                least[c.key] = min(least.get(c.key, answer["least_ns"] / 1e6), answer["least_ns"] / 1e6)
    # By operation, and after the timing: a session that profiles would be in its way.
    for c in opened:
        if c.group == "sparse" and c.kind == "onnxruntime" and c.key not in refused:
            ops[c.key] = workers.ask(_process(c), {**asdict(c), "job": "ops"}).get("us", {})
    for name in sorted({_process(c) for c in candidates}):
        workers.ask(name, {"job": "drop"})
    return {
        c.key: Timed(c, why=refused[c.key])
        if c.key in refused
        else Timed(c, tuple(samples[c.key]), least[c.key], versions[c.key], outputs[c.key], ops.get(c.key, {}))
        for c in candidates
    }


def _process(c: Candidate) -> str:
    if c.kind == "kernel":  # whose threads are the process's
        return f"{c.kind}:{c.threads}"
    return f"{c.kind}:{'dense' if c.group in ('fp32', 'int8') else c.group}"


def ratio(base: Timed, other: Timed, empty_ms: float = 0.0) -> dict[str, Any]:
    """How many times faster ``other`` is: the median over rounds of the ratio in a round, and its quartiles.

    ``empty_ms``, what a call of the base's runtime takes that computes nothing, is taken off the base's times.
    """
    each = [max(b - empty_ms, 0.0) / o for b, o in zip(base.rounds, other.rounds, strict=True)]
    low, middle, high = (float(q) for q in np.quantile(each, (0.25, 0.5, 0.75)))
    return {"ratio": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
