"""Opening by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnx_files
from flyweight.core.artifact import Artifact
from flyweight.core.errors import UnknownNameError
from flyweight.deploy.runtimes.open import open_artifact


def test_artifacts_paths_and_runtimes_of_ones_own(tmp_path: Path) -> None:
    path = onnx_files.conv_net(tmp_path / "m.onnx")
    x = np.ones((2, 3, 8, 8), np.float32)
    own = "flyweight.deploy.runtimes.onnxruntime:open_session"
    results = [open_artifact(p)(x)[0] for p in (path, str(path), Artifact(path=path))]
    results.append(open_artifact(path, own, threads=2)(x)[0])
    assert all(np.allclose(r, results[0]) for r in results)


def test_an_unknown_runtime_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"there is no runtime 'onnxrt'. Did you mean 'onnxruntime'\?"):
        open_artifact("m.onnx", "onnxrt")
