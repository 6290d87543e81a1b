"""A file says which linear layers multiply their zeros for want of an integer kernel."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.task import Splits
from flyweight.deploy.export.onnx import export_onnx
from sparse_nets import image_task


def notes(folder: Path, *, ratio: float = 0.8, int8: bool = True, kernels: str = "all", bias: bool = True) -> list[str]:
    """What is said, when a network of two convolutions and two linear layers is exported, of linear layers."""
    torch.manual_seed(0)
    layers = {"stem": nn.Conv2d(3, 8, 3), "body": nn.Conv2d(8, 8, 3), "flat": nn.Flatten()}
    layers |= {"wide": nn.Linear(8 * 16, 32, bias=bias), "relu": nn.ReLU(), "last": nn.Linear(32, 8, bias=bias)}
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    data = TensorDataset(torch.randn(8, 3, 8, 8), torch.zeros(8, dtype=torch.long))
    splits = Splits(train=data, calibrate=data, select=data, report=data)
    task = dataclasses.replace(image_task(model, 8), data=splits)
    found = Prune(ratio, structure=block(4, 4, taps=True), exclude=("last",)).edit(model, task)
    found = Quantize().edit(found, task) if int8 else found
    told = export_onnx(found, task, folder / "m.onnx", kernels=kernels).notes
    return [note for note in told if "linear layers" in note]


@pytest.mark.parametrize("bias", [True, False])
def test_those_of_many_zeros_are_named(bias: bool, tmp_path: Path) -> None:
    assert notes(tmp_path, bias=bias) == ["dense, for linear layers of integers have no sparse kernel: wide"]


def test_nothing_is_said_where_nothing_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notes(tmp_path, ratio=0.1) == []
    assert notes(tmp_path, int8=False) == []
    assert notes(tmp_path, kernels="none") == []
    monkeypatch.setattr("flyweight.deploy.export.sparse.sparse.why_not", lambda: "a reason")
    assert notes(tmp_path, kernels="auto") == [], "nothing runs on the kernels here"
