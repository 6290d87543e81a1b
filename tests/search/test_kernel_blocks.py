"""The blocks that go are those that the kernels of the stored type leave out."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
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


def left_out(structure: block, bits: int | None, folder: Path) -> tuple[int, str]:
    """The percent of the zeros of two 3×3 convolutions, pruned by ``RATIO``, that a file with all layers on the kernels
    leaves out, and the tiles that it holds: as the exporter tells it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8)),
    )
    task: Task = image_task(model, 8)
    data = TensorDataset(torch.randn(8, 3, 8, 8), torch.zeros(8, dtype=torch.long))
    task = dataclasses.replace(task, data=Splits(train=data, calibrate=data, select=data, report=data))
    model = Prune(RATIO, structure=structure).edit(model, task)
    if bits is not None:
        model = Quantize(bits=bits).edit(model, task)
    (note,) = (n for n in export_onnx(model, task, folder / "m.onnx", kernels="all").notes if "zeros" in n)
    told = re.search(r"zeros: (?:(\d+) % of them|they) are left out of the file, which holds the other (\S+)", note)
    assert told is not None, note
    return int(told[1] or 100), told[2]


@pytest.mark.parametrize(("bits", "tile"), [(None, "4×1"), (8, "4×4")])
def test_hardly_a_zero_is_left_in_a_file_of_the_kernels(bits: int | None, tile: str, tmp_path: Path) -> None:
    percent, tiles = left_out(kernel_blocks()(bits), bits, tmp_path)
    assert tiles == tile
    assert percent >= 98, "but for small weights that were rounded to zero"


def test_blocks_of_floats_leave_hardly_an_empty_tile_of_int8(tmp_path: Path) -> None:
    assert left_out(kernel_blocks()(None), 8, tmp_path)[0] < 50


def test_other_integers_lose_the_finer_tiles() -> None:
    assert kernel_blocks()(4) == kernel_blocks()(None) == block(4, 1)


def test_the_chain_takes_those_of_what_it_stores(fresh_task: Task) -> None:
    found = {}
    for bits in (8, None):
        how = chain(structure=kernel_blocks(), bits=bits)
        (found[how.label(0.9, fresh_task)],) = (s.structure for s in how(0.9, fresh_task) if isinstance(s, Prune))
    assert found == {
        "4×4 blocks −90 %, int8": block(4, 4, taps=True),
        "4×1 blocks −90 %": block(4, 1),
    }
