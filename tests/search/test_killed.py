"""kill -9 at five random moments, then to the end: the same as a run that nobody touched."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flyweight.core.frontier import Frontier

_CODE = """
import sys, arms, tiny
from flyweight.search.optimize import optimize
optimize(tiny.fresh_task(epochs=12), sys.argv[1], strategy=arms.many)
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # A group of its own: the children that measure have to die with it.
    return subprocess.Popen([sys.executable, "-c", _CODE, str(folder)], env=environment, start_new_session=True)


def told(folder: Path) -> list[tuple[Any, ...]]:
    return [
        (p.id, p.label, p.recipe, p.path, p.quality, p.footprint.size_bytes, (folder / str(p.path)).read_bytes())
        for p in Frontier.load(folder).points
    ]


@pytest.mark.slow
def test_five_kills_change_nothing(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    length = time.monotonic() - begun
    draw = random.Random(0)
    for _ in range(5):
        process = start(tmp_path / "killed")
        time.sleep(draw.uniform(0.1, 0.6) * length)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert start(tmp_path / "killed").wait() == 0
    assert told(tmp_path / "killed") == told(tmp_path / "whole")
    keys = [json.loads(line)["key"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys)), "a finished step was repeated"
    kept = {path.stem for path in (tmp_path / "killed" / "steps").glob("[0-9a-f]*.json")}
    assert kept == {path.stem for path in (tmp_path / "whole" / "steps").glob("[0-9a-f]*.json")}
