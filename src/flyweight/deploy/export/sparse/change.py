"""What stands in the place of layers: an operation of ours, with its weights in the form that the kernels read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyweight.deploy.export.sparse.attention import Attention
from flyweight.deploy.export.sparse.block import Block
from flyweight.deploy.export.sparse.layer import DEPTHWISE, LINEAR, Layer, Weight
from flyweight.deploy.export.sparse.norm import Norm
from flyweight.deploy.export.sparse.tile import tile
from flyweight.kernels.library import DOMAIN
from flyweight.kernels.matrix import pack

if TYPE_CHECKING:
    from flyweight.deploy.export.sparse.net import Array


@dataclass(frozen=True, eq=False)
class Change:
    """``layers``, whose ``nodes`` give way to the node ``made``, which reads ``inputs`` and the constants ``tensors``;
    ``others`` are nodes that give way and belong to no layer.

    ``form`` tells all that its time hangs on but the sizes of the inputs: kind, sizes, block, and how much is kept;
    ``stored`` has the block and the count of numbers kept of each weight.
    """

    layers: tuple[Layer, ...]
    made: Any
    tensors: tuple[Any, ...]
    inputs: tuple[str, ...]
    form: tuple[Any, ...]
    stored: Mapping[str, tuple[tuple[int, int], int]]
    others: tuple[Any, ...] = ()

    @property
    def nodes(self) -> tuple[Any, ...]:
        """The nodes that it stands for, in their order."""
        return (*(node for layer in self.layers for node in layer.nodes), *self.others)

    @property
    def output(self) -> str:
        """The tensor that it gives."""
        return str(self.made.output[0])


def single(layer: Layer) -> Change:
    """One layer as an operation of ours."""
    writer = _Writer(layer.output)
    residual = [layer.residual] if layer.residual else []
    attributes: dict[str, Any] = {"activation": layer.activation}
    if layer.op == DEPTHWISE:
        names = [writer.whole(layer.weight), *writer.bias(layer.weight)]
        attributes |= _window(layer.weight, kernel=False)
    else:
        block, values = writer.matrix(layer.weight)
        names = [*values, *writer.bias(layer.weight, needed=bool(residual)), *residual]
        attributes |= {"rows": layer.weight.values.shape[0], "inputs": layer.weight.values.shape[1], "block": block}
        attributes |= {} if layer.op == LINEAR else _window(layer.weight)
    made = _node(layer.op, [layer.x, *names], layer.nodes[-1], attributes)
    return Change(
        (layer,), made, tuple(writer.tensors), (layer.x, *residual), _form(layer.op, attributes, writer), writer.stored
    )


def fused(block: Block) -> Change:
    """Expand, depthwise and project as one operation."""
    writer = _Writer(block.output)
    expand, depthwise, project = block.expand, block.depthwise.weight, block.project.weight
    attributes: dict[str, Any] = {
        "expand_rows": depthwise.values.shape[0],
        "inputs": depthwise.values.shape[0],
        "rows": project.values.shape[0],
        "activation": block.depthwise.activation,
        "expand_activation": "",
        "expand_block": (1, 1),
        "residual": int(bool(block.project.residual)),
        **_window(depthwise),
    }
    names = ["", "", ""]
    if expand is not None:
        tiles, values = writer.matrix(expand.weight)
        names = [*values, *writer.bias(expand.weight, needed=True)]
        attributes |= {"inputs": expand.weight.values.shape[1], "expand_block": tiles}
        attributes |= {"expand_activation": expand.activation}
    names += [writer.whole(depthwise), *writer.bias(depthwise, needed=True)]
    attributes["project_block"], values = writer.matrix(project)
    names += [*values, *writer.bias(project)]
    del attributes["dilations"]
    made = _node("SparseBlock", [block.x, *names], block.nodes[-1], attributes)
    form = _form("SparseBlock", attributes, writer)
    return Change(block.layers, made, tuple(writer.tensors), (block.x,), form, writer.stored)


def attention(found: Attention) -> Change:
    """An attention as one operation."""
    attributes = {"heads": found.heads, "size": found.size, "scale": found.scale}
    names = [found.q, found.k, found.v, *([found.mask] if found.mask else [])]
    return _beside("Attention", names, tuple(dict.fromkeys(found.inputs)), found.nodes, attributes)


def norm(found: Norm) -> Change:
    """A layer normalization as an operation of ours."""
    names = [found.x, found.gain, *([found.bias] if found.bias else [])]
    return _beside("LayerNorm", names, (found.x,), (found.node,), {"epsilon": found.epsilon})


def _beside(
    op: str, names: list[str], inputs: tuple[str, ...], nodes: tuple[Any, ...], attributes: dict[str, Any]
) -> Change:
    form = (op, tuple(sorted(attributes.items())))
    return Change((), _node(op, names, nodes[-1], attributes), (), inputs, form, {}, nodes)


class _Writer:
    """Makes the constants of the operation that gives ``output``; those of one weight in one block have one name,
    wherever it is used."""

    def __init__(self, output: str) -> None:
        self._output = output
        self.tensors: list[Any] = []
        self.stored: dict[str, tuple[tuple[int, int], int]] = {}

    def matrix(self, weight: Weight) -> tuple[tuple[int, int], list[str]]:
        """The block, and the names of the values and of the bits; no bits where every tile is kept."""
        import numpy as np
        import torch

        block = tile(weight.values)
        values, keep = pack(torch.from_numpy(np.array(weight.values, order="C")), block)
        tiles = -(-weight.values.shape[0] // block[0]) * weight.values[0].size
        bits = keep.numpy()
        if not len(values):  # runtimes are not at their best with tensors of no elements
            values, bits = torch.zeros(block[0]), bits.copy()
            bits[0] = 128
        if len(values) == tiles * block[0]:
            bits = bits[:0]
        name = f"{weight.name}.{block[0]}x{block[1]}"
        self.stored[weight.name] = block, len(values)
        return block, [self._constant(values.numpy(), f"{name}.values"), self._constant(bits, f"{name}.keep")]

    def whole(self, weight: Weight) -> str:
        """The name of a weight that is stored as it is."""
        return self._constant(weight.values, f"{weight.name}.whole")

    def bias(self, weight: Weight, needed: bool = False) -> list[str]:
        """The name of the bias, or none; an empty one where others follow."""
        if weight.bias is None:
            return [""] if needed else []
        return [self._constant(weight.bias, f"{self._output}.{weight.name}.bias")]

    def _constant(self, values: Array, name: str) -> str:
        import numpy as np
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _window(weight: Weight, kernel: bool = True) -> dict[str, Any]:
    window = weight.window
    assert window is not None
    told = {"strides": window.strides, "dilations": window.dilations, "pads": window.pads}
    return {"kernel_shape": window.kernel, **told} if kernel else told


def _node(op: str, inputs: list[str], last: Any, attributes: dict[str, Any]) -> Any:
    from onnx import helper

    node = helper.make_node(op, inputs, [last.output[0]], domain=DOMAIN)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    node.metadata_props.extend(last.metadata_props)
    return node


def _form(op: str, attributes: dict[str, Any], writer: _Writer) -> tuple[Any, ...]:
    return (op, tuple(sorted(attributes.items())), tuple(kept for _, kept in writer.stored.values()))
