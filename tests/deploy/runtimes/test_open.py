"""Opening by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnx_files
from flyweight.core.artifact import Artifact
from flyweight.core.errors import ArtifactError, UnknownNameError
from flyweight.deploy.runtimes.open import open_artifact, runtime_name


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


@pytest.mark.parametrize(
    ("runtime", "text"),
    [
        ("nomod:func", r"'nomod:func' cannot be imported: ModuleNotFoundError: No module named 'nomod'.*PYTHONPATH"),
        (":func", r"':func' cannot be imported: ValueError"),
        ("json:lods", r"the module 'json' has no function 'lods'.*takes a path and threads="),
    ],
)
def test_a_runtime_of_ones_own_that_is_not_there(runtime: str, text: str) -> None:
    for ask in (runtime_name, lambda r: open_artifact("m.onnx", r)):
        with pytest.raises(UnknownNameError, match=text):
            ask(runtime)


def test_too_few_threads() -> None:
    with pytest.raises(ArtifactError, match=r"threads=0\. Give 1 or more"):
        open_artifact("m.onnx", threads=0)
