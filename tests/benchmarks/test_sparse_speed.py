"""The object that ``benchmarks/sparse_speed.py --model … --json`` prints, on a network that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyweight.kernels.library import available

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "sparse_speed.py"

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built here")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--model", "tiny", "--rounds", "2", "--ms", "1", "--out", str(folder)]
    quick = ["--skip", "litert", "openvino", "int8"]
    return subprocess.run([*command, *arguments, *quick], capture_output=True, text=True, check=False)


def test_one_point_is_one_object(tmp_path: Path) -> None:
    done = run(tmp_path, "--block", "4x1", "--sparsity", "0.9", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)  # one object, and nothing else on stdout
    assert found["ratio_best_dense_fp32"] > 0
    assert found["best_dense"].startswith("onnxruntime"), "the others were left out"
    assert (found["threads"], found["block"], found["sparsity"]) == (1, "4x1", 0.9)
    assert found["path"] in ("avx512", "avx2", "portable")
    assert found["error"] < 1e-3, "the file computes what torch computes"
    assert found["absent"] == {"openvino": "skipped", "litert": "skipped"}
    assert found["machine"]["peak_gflops"] > 0
    assert found["host"]["versions"]["onnxruntime"]


def test_a_block_that_is_none(tmp_path: Path) -> None:
    done = run(tmp_path, "--block", "four", "--sparsity", "0.9")
    assert done.returncode != 0
    assert "--block four: give rows x columns, as in 4x1." in done.stderr
