"""The blocks that go are those that the kernels of the stored type leave out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.utils.data import TensorDataset

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.task import Splits, Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.search.chain import chain
from flyweight.search.kernel_blocks import kernel_blocks
from sparse_nets import image_task

RATIO = 0.75


def kept(structure: block, bits: int | None, folder: Path) -> float:
    """The share of the numbers of two 3×3 convolutions that a file on the kernels holds, after ``structure`` lost
    ``RATIO``; the first, which reads the image, is not counted."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 8 * 8, 8)),
    )
    task: Task = image_task(model, 8)
    data = TensorDataset(torch.randn(8, 3, 8, 8), torch.zeros(8, dtype=torch.long))
    task = dataclasses.replace(task, data=Splits(train=data, calibrate=data, select=data, report=data))
    model = Prune(RATIO, structure=structure).edit(model, task)
    if bits is not None:
        model = Quantize(bits=bits).edit(model, task)
    graph = onnx.load(export_onnx(model, task, folder / f"{bits}.onnx", kernels="all").path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in ("SparseConv", "QSparseConv")][1:]
    assert len(layers) == 2
    return sum(values[node.input[1]].size for node in layers) / (2 * 16 * 32 * 9)


@pytest.mark.parametrize("bits", [None, 8])
def test_files_hold_the_weights_that_stay_alone(bits: int | None, tmp_path: Path) -> None:
    assert kept(kernel_blocks()(bits), bits, tmp_path) == pytest.approx(1 - RATIO, abs=0.01)


def test_blocks_of_floats_leave_hardly_an_empty_tile_of_int8(tmp_path: Path) -> None:
    assert kept(kernel_blocks()(None), 8, tmp_path) > 0.6


def test_other_integers_lose_the_finer_tiles() -> None:
    assert kernel_blocks()(4) == kernel_blocks()(None) == block(4, 1)


def test_the_chain_takes_those_of_what_it_stores(fresh_task: Task) -> None:
    told = {}
    for bits in (8, None):
        how = chain(structure=kernel_blocks(), bits=bits)
        (told[how.label(0.9)],) = (s.structure for s in how(0.9, fresh_task) if isinstance(s, Prune))
    assert told == {
        "4×4 blocks −90 % (taylor), int8": block(4, 4, taps=True),
        "4×1 blocks −90 % (taylor)": block(4, 1),
    }
