"""The gate: true files pass, a file with one wrong layer is caught, and the layer named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.utils.data import TensorDataset

import tiny
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.artifact import Artifact
from flyweight.core.errors import ParityError
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.first_difference import first_difference
from flyweight.deploy.parity import check_parity
from flyweight.surgery.mask import mask_of

Pair = tuple[nn.Module, Artifact, Task]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """A residual network in float, in integers, and with integer weights alone."""
    folder, task = tmp_path_factory.mktemp("parity"), tiny.residual_task()
    models = {
        "float": task.model,
        "integer": Quantize()(task.model, task),
        "weights": Quantize(activations=None)(task.model, task),
    }
    return {name: (m, export_onnx(m, task, folder / f"{name}.onnx"), task) for name, m in models.items()}


def damaged(artifact: Artifact, change: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]) -> Artifact:
    """``artifact`` with its weight of ``shape`` changed, in a new file."""
    model = onnx.load(artifact.path)
    (tensor,) = [t for t in model.graph.initializer if tuple(t.dims) == shape]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(values.copy()).astype(values.dtype), tensor.name))
    path = artifact.path.with_name("damaged.onnx")
    onnx.save(model, path)
    return dataclasses.replace(artifact, path=path)


def one_weight(values: np.ndarray) -> np.ndarray:
    """A wrong weight, as a wrong byte would make it."""
    values.flat[np.abs(values.astype(float)).argmax()] *= -1
    return values


@pytest.mark.parametrize("kind", ["float", "integer", "weights"])
def test_a_true_file_passes_and_tells_how_close(pairs: dict[str, Pair], kind: str) -> None:
    found = check_parity(*pairs[kind])
    assert found["examples"] == 256
    assert found["top1_equal"] >= 0.995
    assert found["equal_share"] > 0.99
    assert found["runtime"].startswith("onnxruntime ")
    if kind == "integer":
        assert found["max_steps"] <= 1
    else:
        assert found["max_steps"] is None
        assert found["max_abs"] < 1e-4


@pytest.mark.parametrize(("kind", "stem", "block"), [("float", "stem.1", "one.1"), ("integer", "stem.0", "one.0")])
def test_one_wrong_weight_is_caught_and_its_layer_named(
    pairs: dict[str, Pair], kind: str, stem: str, block: str
) -> None:
    model, artifact, task = pairs[kind]
    for shape, layer in (((8, 8, 3, 3), block), ((4, 8), "head")):
        with pytest.raises(ParityError, match=rf"The first layer that differs is '{layer}' \("):
            check_parity(model, damaged(artifact, one_weight, shape), task)


@pytest.mark.parametrize(("kind", "layer"), [("float", "two.1"), ("integer", "two.0"), ("weights", "one.0")])
def test_the_message_says_what_where_and_the_way_out(pairs: dict[str, Pair], kind: str, layer: str) -> None:
    model, artifact, task = pairs[kind]
    if kind == "weights":
        broken = damaged(artifact, one_weight, (8, 8, 3, 3))
    else:  # the depthwise layer has the stem's shape, so take the biases: that of the third convolution
        broken = damaged_bias(artifact)
    with pytest.raises(ParityError) as caught:
        check_parity(model, broken, task)
    text = str(caught.value)
    assert text.startswith("ParityError: damaged.onnx in onnxruntime ")
    assert "does not compute what the model computes: an output differs by " in text
    assert f"The first layer that differs is {layer!r} (" in text
    unit = "steps of" if kind == "integer" else "where values go up to"
    assert unit in text
    way = "keep that layer in float, by Quantize's exclude" if kind == "integer" else "write that layer in other"
    assert way in text


def damaged_bias(artifact: Artifact) -> Artifact:
    """``artifact`` with the bias of its third convolution changed."""
    model = onnx.load(artifact.path)
    conv = [n for n in model.graph.node if n.op_type == "Conv"][2]
    (tensor,) = [t for t in model.graph.initializer if t.name == conv.input[2]]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(3), tensor.name))
    path = artifact.path.with_name("damaged.onnx")
    onnx.save(model, path)
    return dataclasses.replace(artifact, path=path)


def test_a_node_named_after_a_container_blames_nobody(pairs: dict[str, Pair], tmp_path: Path) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 4, 3), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.conv(x) * 2.0)  # Mul is the block's own last node, and not what it gives

    torch.manual_seed(0)
    task = dataclasses.replace(tiny.task(), model=nn.Sequential(Block(), nn.Flatten(), nn.Linear(144, 4)))
    model = task.model.eval()
    artifact = export_onnx(model, task, tmp_path / "m.onnx")
    check_parity(model, artifact, task)
    assert first_difference(model, artifact.path, task.example, "onnxruntime") is None
    with pytest.raises(ParityError, match=r"The first layer that differs is '2' \(Linear\)"):
        check_parity(model, damaged(artifact, one_weight, (4, 144)), task)


def test_a_difference_that_no_module_makes(pairs: dict[str, Pair]) -> None:
    model, artifact, task = pairs["float"]
    changed = onnx.load(artifact.path)
    head = changed.graph.node[-1]
    head.name = ""
    changed.graph.node.append(onnx.helper.make_node("Neg", [head.output[0] + "_"], [head.output[0]]))
    head.output[0] += "_"
    path = artifact.path.with_name("negated.onnx")
    onnx.save(changed, path)
    with pytest.raises(ParityError, match="Every layer that could be compared agrees"):
        check_parity(model, dataclasses.replace(artifact, path=path), task)


@pytest.mark.parametrize("bits", [32, 8])
def test_a_wrong_weight_among_those_that_were_kept_is_caught_and_its_layer_named(bits: int, tmp_path: Path) -> None:
    task = tiny.residual_task()
    torch.manual_seed(0)
    wide = tiny.taught(tiny.TinyResidual(32), epochs=2)
    for layer in (wide.one[0], wide.head):
        mask_of(layer).keep = torch.rand(layer.weight.shape) < 0.2
    model = wide if bits == 32 else Quantize()(wide, task)
    artifact = export_onnx(model, task, tmp_path / "sparse.onnx")
    check_parity(model, artifact, task)
    # A line of values for the convolution; the head's is shorter, or stands as it is.
    kept = max(t.dims[1] for t in onnx.load(artifact.path).graph.initializer if t.dims[:1] == [1] and len(t.dims) == 2)
    with pytest.raises(ParityError, match=r"The first layer that differs is '(one\.1|one\.0|one)' \("):
        check_parity(model, damaged(artifact, lambda v: v[:, ::-1], (1, kept)), task)


def test_the_model_is_left_as_it_was(pairs: dict[str, Pair]) -> None:
    model, artifact, task = pairs["float"]
    model.train()
    try:
        check_parity(model, artifact, task, examples=10)
        with pytest.raises(ParityError):
            check_parity(model, damaged(artifact, one_weight, (4, 8)), task)
        assert model.training
        assert not any(m._forward_hooks for m in model.modules())
    finally:
        model.eval()


def test_a_file_of_another_shape_and_no_examples(pairs: dict[str, Pair], tmp_path: Path) -> None:
    model, _, task = pairs["float"]
    other = dataclasses.replace(task, model=tiny.TinyResidual())
    other.model.head = nn.Linear(8, 7)
    artifact = export_onnx(other.model, other, tmp_path / "seven.onnx")
    with pytest.raises(
        ParityError, match=r"seven\.onnx gives outputs of shapes \[\(256, 7\)\], and the model \[\(256, 4\)\]"
    ):
        check_parity(model, artifact, task)
    empty = dataclasses.replace(task.data, select=TensorDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0)))
    with pytest.raises(ParityError, match="the select split of task 'tiny-residual' gives no examples"):
        check_parity(model, artifact, dataclasses.replace(task, data=empty))


@pytest.mark.parametrize(
    ("wrong", "total", "passes"), [(1, 64, True), (2, 64, False), (5, 1000, True), (6, 1000, False)]
)
def test_half_a_percent_of_the_classes_may_differ(
    pairs: dict[str, Pair], monkeypatch: pytest.MonkeyPatch, wrong: int, total: int, passes: bool
) -> None:
    from flyweight.deploy import parity

    model, artifact, task = pairs["integer"]
    large = dataclasses.replace(task.data, select=tiny.images(total, 5))
    monkeypatch.setattr(parity, "_top1", lambda wanted, got: 1 - wrong / total)
    check: Any = lambda: check_parity(model, artifact, dataclasses.replace(task, data=large))  # noqa: E731
    if passes:
        assert check()["top1_equal"] == 1 - wrong / total
    else:
        with pytest.raises(ParityError, match=rf"% of {total} examples get the same class \(99\.5 % are asked for\)"):
            check()


def test_ties_are_right_either_way() -> None:
    from flyweight.deploy.parity import _top1

    wanted = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    assert _top1(wanted, torch.tensor([[0.9, 1.0, 0.0], [0.0, 2.0, 1.0]])) == 1
    assert _top1(wanted, torch.tensor([[0.9, 1.0, 1.1], [0.0, 2.0, 1.0]])) == 0.5
    assert _top1(wanted[:, :1], wanted[:, :1]) is None


def test_floats_between_integers_may_move_what_is_rounded_after_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 16), nn.LayerNorm(16), nn.Linear(16, 4)
    )
    for norm, features in ((net[2], 32), (net[4], 16)):
        norm.weight.data.copy_(torch.linspace(0.5, 1.5, features))  # of ones nothing is stored
    task = dataclasses.replace(tiny.task(), model=net.eval(), family=None)
    model = Quantize()(net, task)
    artifact = export_onnx(model, task, tmp_path / "model.onnx")
    assert check_parity(model, artifact, task)["top1_equal"] >= 0.995

    def changed(change: Callable[[np.ndarray], np.ndarray]) -> Artifact:
        """``artifact`` with the scale of its first layer-norm changed."""
        proto = onnx.load(artifact.path)
        name = next(node.input[1] for node in proto.graph.node if node.op_type == "LayerNormalization")
        (tensor,) = [t for t in proto.graph.initializer if t.name == name]
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
        path = artifact.path.with_name("changed.onnx")
        onnx.save(proto, path)
        return dataclasses.replace(artifact, path=path)

    # A last digit would show on few examples alone; six in a thousand show on most.
    assert 1 < check_parity(model, changed(lambda scale: scale * np.float32(1.006)), task)["max_steps"] < 12
    with pytest.raises(ParityError, match=r"an output differs by .* steps of .* \([\d.]+ steps are allowed\)"):
        check_parity(model, changed(lambda scale: scale[::-1].copy()), task)


def test_a_plain_chain_of_integer_layers_is_simulated_bit_for_bit(tmp_path: Path) -> None:
    """Every value lies where the runtime puts it, those half-way between two codes too."""
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=2), nn.ReLU6(),
        nn.Conv2d(16, 8, 3), nn.Flatten(2), nn.Linear(196, 32),
    )  # fmt: skip
    task = dataclasses.replace(tiny.task(), model=model, example=(torch.randn(2, 1, 16, 16),))
    images = TensorDataset(torch.randn(2048, 1, 16, 16), torch.zeros(2048, dtype=torch.long))
    data = dict.fromkeys(("train", "calibrate", "select", "report"), images)
    task = dataclasses.replace(task, data=dataclasses.replace(task.data, **data))
    integer = Quantize()(model, task)
    told = check_parity(integer, export_onnx(integer, task, tmp_path / "chain.onnx"), task)
    assert told["equal_share"] == 1.0
