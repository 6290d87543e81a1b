"""Asking a fresh process to measure, and taking it well when that process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyweight.core import errors

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Answer:
    """What the process ``found``; None with ``why`` where it died or took too long."""

    found: Mapping[str, Any] | None
    why: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


def ask(request: Mapping[str, Any], timeout: float) -> Answer:
    """Runs :mod:`flyweight.measure.probe` on ``request`` and gives it ``timeout`` seconds.

    What is wrong with the request (a damaged file, a missing library) is raised here as it was there; a process that
    dies or hangs is an answer without findings.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "flyweight.measure.probe"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=_environment(int(request["threads"])),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, f"the measuring process was stopped after {timeout:g} s without an answer")
    except OSError as error:
        return Answer(None, f"no measuring process could be started: {error}")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Answer(None, f"the measuring process {_end(done.returncode)}{_last(done.stderr)}")
    if "error" in answer:
        raise getattr(errors, answer["kind"], errors.FlyweightError)(answer["error"])
    return Answer(answer["found"], about={"torch": answer["torch"]})


def _environment(threads: int) -> dict[str, str]:
    # The child finds what this process finds: flyweight itself, and a runtime or a meter of the user's own.
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *(p or os.getcwd() for p in sys.path)]
    return {
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait would measure each other
        **os.environ,
        **dict.fromkeys(_THREADS, str(threads)),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }


def _end(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _last(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""
