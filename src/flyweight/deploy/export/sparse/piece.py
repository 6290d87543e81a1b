"""A part of a graph as a file of its own, to be timed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyweight.deploy.export.sparse.apply import declare
from flyweight.deploy.export.sparse.net import Net

Sizes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Piece:
    """``nodes`` that make ``output`` of ``inputs``, and of constants: those of the graph, and ``tensors``."""

    nodes: tuple[Any, ...]
    inputs: tuple[str, ...]
    output: str
    tensors: tuple[Any, ...] = ()


def sizes(proto: Any, example: Sequence[Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The sizes of the tensors of ``proto`` for inputs of the shapes ``example``, as far as they can be inferred."""
    from onnx import shape_inference

    copy = type(proto)()
    copy.CopyFrom(proto)
    graph = copy.graph
    del graph.value_info[:]
    for value, shape in zip(graph.input, example, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    net = Net(shape_inference.infer_shapes(copy, data_prop=True))
    found = {name: shape for name, shape in net.shapes.items() if shape is not None}
    return {name: shape for name, shape in found.items() if all(isinstance(n, int) for n in shape)}  # type: ignore[misc]


def write(proto: Any, net: Net, piece: Piece, at: Sizes, path: Path) -> Path:
    """Writes ``piece`` of ``proto`` for inputs of the sizes ``at`` to ``path``."""
    from onnx import TensorProto, helper

    own = {tensor.name: tensor for tensor in piece.tensors}
    read = dict.fromkeys(name for node in piece.nodes for name in node.input if name)
    tensors = [own.get(name) or net.tensors[name] for name in read if name in own or name in net.tensors]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, at[name]) for name in piece.inputs]
    output = helper.make_tensor_value_info(piece.output, TensorProto.FLOAT, at.get(piece.output))
    graph = helper.make_graph(list(piece.nodes), "piece", inputs, [output], tensors)
    made = helper.make_model(graph, opset_imports=list(proto.opset_import), ir_version=proto.ir_version)
    if _ours(piece.nodes):
        declare(made)
    path.write_bytes(made.SerializeToString())
    return path


def _ours(nodes: Iterable[Any]) -> bool:
    return any(node.domain for node in nodes)
