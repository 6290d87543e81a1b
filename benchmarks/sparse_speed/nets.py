"""The networks of ``sparse_speed.py``: made, pruned by flyweight's own steps, exported, and converted for LiteRT.

Values are drawn at random: speed does not depend on them, only on where the zeros are, and those are put by magnitude.
Batch-norm's statistics are set anew on random images after pruning, so that activations have a trained network's size.
"""

from __future__ import annotations

import copy
import itertools
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from flyweight import Prune, Quantize
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.structures.block import block
from flyweight.core.task import Splits, Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.models.minilm import minilm
from flyweight.models.mobilenet_v2 import InvertedResidual, mobilenet_v2

_CALIBRATION = 8
Shape = tuple[int, int]


@dataclass(frozen=True)
class Net:
    """A network: how it is made, what one call takes, and whether it can be quantized."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[int], tuple[Tensor, ...]]
    images: bool = True


def nets() -> dict[str, Net]:
    """All networks by name; ``tiny`` is for trying the benchmark out."""
    return {
        net.name: net
        for net in (
            Net("mobilenet_v2", mobilenet_v2, _images(224)),
            Net("minilm", minilm, _tokens(128), images=False),
            Net("minilm-16", minilm, _tokens(16), images=False),
            Net("resnet18", ResNet18, _images(224)),
            Net("tiny", _tiny, _images(32)),
        )
    }


def _images(size: int) -> Callable[[int], tuple[Tensor, ...]]:
    return lambda count: (torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)),)


def _tokens(length: int) -> Callable[[int], tuple[Tensor, ...]]:
    def draw(count: int) -> tuple[Tensor, ...]:
        ids = torch.randint(30522, (count, length), generator=torch.Generator().manual_seed(1))
        return ids, torch.ones_like(ids)

    return draw


def _tiny() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
    ends = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    return nn.Sequential(stem, InvertedResidual(16, 16, 1, 4), *ends)


class ResNet18(nn.Module):
    """ResNet-18 for 224×224: He, Zhang, Ren and Sun 2016, arXiv 1512.03385, table 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in itertools.pairwise(widths)))
        self.head = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, 3, 224, 224)`` to logits ``(N, 1000)``."""
        x = self.blocks(self.pool(self.stem(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.one = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.two = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.two(self.one(x)) + self.shortcut(x))


def task(net: Net, model: nn.Module) -> Task:
    """What flyweight's steps ask for: inputs to calibrate by, nothing to learn."""
    inputs = net.inputs(_CALIBRATION)
    data = TensorDataset(*inputs, torch.zeros(_CALIBRATION, dtype=torch.int64))
    splits = Splits(train=data, calibrate=data, select=data, report=data)
    return Task(
        name=net.name,
        model=model,
        example=net.inputs(1),
        data=splits,
        loss=_nothing,
        quality=lambda forward, batches: 0.0,
    )


def _nothing(forward: Any, batch: Any) -> Tensor:
    return torch.zeros(())


def made(net: Net, shape: Shape, sparsity: float, int8: bool = False) -> tuple[nn.Module, Task]:
    """The network with ``sparsity`` of each layer's blocks of ``shape`` gone, quantized if asked."""
    torch.manual_seed(0)
    model = net.make()
    brought = task(net, model)
    if sparsity:
        structure = block(*shape, taps=True)
        model = Prune(sparsity, structure=structure, distribution=uniform(), exclude=_spared(model))(model, brought)
    _settle(model, net)
    if int8:
        model = Quantize(bits=8)(model, brought)
    return model.eval().requires_grad_(False), brought


def _spared(model: nn.Module) -> tuple[str, ...]:
    """Depthwise convolutions, which hold few of the weights."""
    return tuple(n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1)


@torch.no_grad()
def _settle(model: nn.Module, net: Net) -> None:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, of which there is one
        norm.train()
    model(*net.inputs(_CALIBRATION))
    model.eval()


def expected(model: nn.Module, net: Net) -> np.ndarray[Any, Any]:
    """What torch computes."""
    with torch.no_grad():
        found: np.ndarray[Any, Any] = model.eval()(*net.inputs(1)).numpy()
    return found


def write_onnx(model: nn.Module, brought: Task, path: Path, kernels: str) -> tuple[str, ...]:
    """Writes the file, ``kernels`` as :func:`export_onnx` takes it, and gives the exporter's notes."""
    return export_onnx(model, brought, path, kernels=kernels).notes


def fix_batch(free: Path, path: Path) -> None:
    """Writes the file ``free`` anew with its batch fixed at 1: what a runtime knows beforehand it need not ask."""
    import onnx

    proto = onnx.load(str(free))
    for port in (*proto.graph.input, *proto.graph.output):
        size = port.type.tensor_type.shape.dim[0]
        size.ClearField("dim_param")
        size.dim_value = 1
    del proto.graph.value_info[:]
    onnx.save(proto, str(path))


class _ChannelsLast(nn.Module):
    """Takes images as LiteRT holds them, (N, H, W, C), so that no transposition is counted against it."""

    def __init__(self, model: nn.Module, both: bool) -> None:
        super().__init__()
        self.model, self.both = model, both

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1) if self.both else y


def write_tflites(
    wanted: Sequence[tuple[nn.Module, Sequence[Tensor], Path]], python: str, calibrate: Path | None = None
) -> str:
    """Converts each model, called on these inputs, to the file of that path, by ``python``, which has litert-torch.

    Images go in channels last, and come out so where the outputs are images too. Gives back why that failed, or "".
    """
    files = []
    for model, example, path in wanted:
        owned, given = copy.deepcopy(model).eval(), tuple(example)
        if given[0].dim() == 4:
            with torch.no_grad():
                both = owned(*given).dim() == 4
            owned, given = _ChannelsLast(owned, both), (given[0].permute(0, 2, 3, 1).contiguous(),)
        torch.export.save(torch.export.export(owned, given), path.with_suffix(".pt2"))
        files += [str(path.with_suffix(".pt2")), str(path)]
    script = Path(__file__).with_name("to_tflite.py")
    more = ["--calibrate", str(calibrate)] if calibrate else []
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, str(script), *files, *more]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=quiet, check=False)
    for name in files[::2]:
        Path(name).unlink()
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return f"could not be converted: {lines[-1].strip()[:300] if lines else done.returncode}"
