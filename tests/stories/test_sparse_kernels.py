"""From a task to a frontier with points that run on the sparse kernels, timed for real, in seconds."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

import flyweight as fw
from flyweight.compress.prune.structures.block import block
from flyweight.core.errors import ArtifactError
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.export.sparse.sparse import NEEDS
from flyweight.deploy.forward import as_forward
from flyweight.deploy.parity import check_parity
from flyweight.deploy.runtimes.open import open_artifact
from flyweight.kernels.library import available
from flyweight.report.claims import claims
from flyweight.search import evaluate as evaluating
from flyweight.search.chain import chain
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.pruned import pruned as strategy
from flyweight.tasks.fashion_mini import fashion_mini
from sparse_nets import Encoder, Mobile, Residual, image_task, pruned, token_task

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")

NETS = {
    "mobile": (lambda: Mobile(), image_task),
    "mobile, odd channels": (lambda: Mobile(7, 33), image_task),
    "residual": (lambda: Residual(), image_task),
    "encoder": (lambda: Encoder(), token_task),
}


@pytest.mark.parametrize("name", NETS)
def test_files_compute_what_their_models_do(name: str, tmp_path: Path) -> None:
    make, task_of = NETS[name]
    torch.manual_seed(0)
    model = pruned(make(), 0.7, 4 if name == "residual" else 1)
    task = task_of(model)
    forward = as_forward(open_artifact(export_onnx(model, task, tmp_path / "m.onnx", kernels="all")))
    for batch in (1, 2, 5):
        x = torch.randn(batch, *task.example[0].shape[1:])
        expected = model(x)
        assert float((forward(x) - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def little(task: Task) -> Task:
    """Of each split the first examples, for a training of a second."""
    data = task.data
    few = {"train": 1280, "calibrate": 64, "select": 250, "report": 250}
    splits = {name: Subset(getattr(data, name), range(count)) for name, count in few.items()}
    return dataclasses.replace(task, data=dataclasses.replace(data, **splits))


def test_the_frontier_has_points_on_the_sparse_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyweight.search.conclude._THOROUGH", 0.1)
    monkeypatch.setattr(evaluating, "_BRIEF", 0.05)
    task = little(fashion_mini(epochs=1))
    found = fw.optimize(task, tmp_path / "out", strategy=strategy((0.9,), chain(structure=block(4, 1), bits=None)))
    (base,) = (p for p in found.points if p.baseline)
    (sparse,) = (p for p in found.points if p.needs)
    assert [p.failure for p in found.points] == [None, None]
    assert sparse in found.optimal
    assert sparse.needs == (NEEDS,)
    assert sparse.footprint.speedup is not None
    assert sparse.footprint.speedup > 1
    assert {"SparseConv", "Network"} & set(sparse.footprint.detail["time_by_op"])
    assert any(note.startswith("on the sparse kernels, with their speed over dense: ") for note in sparse.notes)
    speed = next(p for p in claims(sparse, base).partings if p.what == "speed")
    assert speed.claimed is not None
    assert speed.claimed > 5
    told = json.loads((tmp_path / "out" / "frontier.json").read_text(encoding="utf-8"))
    assert told["about"]["kernels"] == "auto"
    # The plain file beside it opens anywhere, and says the same.
    path = tmp_path / "out" / str(sparse.path)
    x = task.data.select[0][0][None].numpy()
    ours, plain = (open_artifact(p)(x)[0] for p in (path, path.with_suffix(".plain.onnx")))
    np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)
    opened = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"
    for file, code in ((path.with_suffix(".plain.onnx"), 0), (path, 1)):
        done = subprocess.run([sys.executable, "-c", opened, str(file)], capture_output=True, text=True)
        assert done.returncode == code
    assert "options.register_custom_ops_library(flyweight.kernels_library())" in done.stderr


def test_in_integers_too_and_the_file_is_smaller_than_the_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyweight.search.conclude._THOROUGH", 0.1)
    monkeypatch.setattr(evaluating, "_BRIEF", 0.05)
    torch.manual_seed(0)
    task = dataclasses.replace(little(fashion_mini(epochs=1)), train=None)
    tried = [one for one in strategy((0.9,), chain(structure=kernel_blocks()))(task) if "int8" in one.label]
    found = fw.optimize(task, tmp_path / "out", strategy=lambda task, terms: tried)
    points = {p.label: p for p in found.points}
    whole, sparse = points["unpruned, int8"], points["4×4 blocks −90 %, int8, not tuned"]
    assert not whole.needs
    assert sparse.needs == (NEEDS,)
    assert sparse.footprint.speedup > 1.2 * whole.footprint.speedup
    path = tmp_path / "out" / str(sparse.path)
    assert path.stat().st_size < path.with_suffix(".plain.onnx").stat().st_size < 0.3 * whole.footprint.size_bytes
    assert any(note.startswith("dense, for linear layers of integers") for note in sparse.notes)
    x = task.data.select[0][0][None].numpy()
    ours, plain = (open_artifact(p)(x)[0] for p in (path, path.with_suffix(".plain.onnx")))
    np.testing.assert_array_equal(ours, plain)


def test_parity_finds_the_layer_that_differs(tmp_path: Path, tiny_task: Task) -> None:
    recipe = (fw.Prune(0.5, structure=block(4, 1)),)
    model = fw.run(recipe, tiny_task.model, tiny_task)
    artifact = export_onnx(model, tiny_task, tmp_path / "m.onnx", kernels="all")
    assert check_parity(model, artifact, tiny_task)["max_abs"] < 1e-4
    with torch.no_grad():
        model[4].parametrizations.weight.original.add_(1.0)
    with pytest.raises(fw.FlyweightError, match="does not compute what the model computes"):
        check_parity(model, artifact, tiny_task)


def test_a_machine_without_the_library_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pruned(Residual())
    artifact = export_onnx(model, image_task(model), tmp_path / "m.onnx", kernels="all")
    monkeypatch.setenv("FLYWEIGHT_KERNELS", "none")
    for action in (lambda: open_artifact(artifact), lambda: fw.measure(artifact)):
        with pytest.raises(ArtifactError, match="which are not used here: FLYWEIGHT_KERNELS=none"):
            action()
