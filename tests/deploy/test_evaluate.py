"""``fw.measure``: the function, though a room has its name; artifacts and paths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flyweight as fw
import onnx_files
from flyweight.core.artifact import Artifact
from flyweight.core.errors import UnknownNameError


@pytest.mark.parametrize("first", ["flyweight.measure.footprint", "flyweight.deploy.evaluate", "flyweight"])
def test_the_function_is_found_whatever_was_imported_before(first: str) -> None:
    code = (
        f"import {first}\nimport flyweight as fw\nfrom flyweight.measure.host import host\n"
        "assert callable(fw.measure), fw.measure\n"
        "from flyweight.measure import graph\nimport flyweight.measure.macs\n"
        "assert callable(fw.measure), fw.measure\n"
        "assert graph.read_graph\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_artifacts_and_paths(tmp_path: Path) -> None:
    path = onnx_files.conv_net(tmp_path / "m.onnx")
    by_path = fw.measure(path, seconds=0.02)
    by_artifact = fw.measure(Artifact(path=path), baseline=str(path), seconds=0.02)
    assert by_path.size_bytes == by_artifact.size_bytes
    assert by_artifact.speedup == 1
    with pytest.raises(UnknownNameError, match="Did you mean 'openvino'"):
        fw.measure(path, runtime="openvno")
