"""One run: its settings, its processes, and what is absent."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flyweight.measure.host import host
from sparse_speed.rounds import Candidate, Timed, Workers, timed

_DENSE = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}

NO_AMX = "without AMX"
"""OpenVINO multiplies bytes in AMX tiles where there are any. Told beside, to say what that makes; never the rival."""


class Bench:
    """One run: its settings, its processes, and what is absent."""

    def __init__(self, args: argparse.Namespace, litert_python: str) -> None:
        self.args, self.litert_python = args, litert_python
        self.out = Path(args.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        no_amx = {NO_AMX: {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}}
        self.workers = Workers({"litert": litert_python}, no_amx, args.ahead)
        self.absent = _absent(args, litert_python)
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


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _absent(args: argparse.Namespace, litert_python: str) -> dict[str, str]:
    """The dense runtimes that cannot be asked, and why."""
    found = {name: "skipped" for name in ("openvino", "litert") if name in args.skip}
    if "openvino" not in found and importlib.util.find_spec("openvino") is None:
        found["openvino"] = "not installed: pip install openvino"
    if "litert" not in found:
        command = [litert_python, "-c", "import ai_edge_litert.interpreter"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            found["litert"] = "not installed: pip install ai-edge-litert, and see benchmarks/README.md for its files"
    return found
