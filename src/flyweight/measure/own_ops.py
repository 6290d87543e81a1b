"""The operations of the sparse kernels in a graph: their sizes, and the weights of which they skip the zeros."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyweight.kernels.library import DOMAIN


@dataclass(frozen=True)
class Skipping:
    """A weight as the tiles that are kept: the constants ``values`` and ``keep``, for ``elements`` numbers of the dense
    weight."""

    values: str
    keep: str
    elements: int


def own(node: Any) -> bool:
    """Whether ``node`` is an operation of the sparse kernels."""
    return bool(node.domain == DOMAIN)


def skipping(node: Any) -> Iterator[Skipping]:
    """The weights of ``node`` that are kept as tiles; none where it is no operation of ours, or has none such."""
    if not own(node):
        return
    told = attributes(node)
    if node.op_type in _LAYERS:
        taps = math.prod(told.get("kernel_shape", (1, 1)))
        yield Skipping(node.input[1], node.input[2], told["rows"] * told["inputs"] * taps)
    elif node.op_type == "SparseBlock":
        if node.input[1]:
            yield Skipping(node.input[1], node.input[2], told["expand_rows"] * told["inputs"])
        yield Skipping(node.input[6], node.input[7], told["rows"] * told["expand_rows"])


def with_twins(model: Any) -> Any:
    """A copy of ``model`` in which each operation of ours is plain ones whose outputs have the same sizes, for onnx
    infers sizes of its own operations alone. What it would compute means nothing."""
    from onnx import TensorProto, helper

    if not any(own(node) for node in model.graph.node):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    graph = copy.graph
    stored = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    nodes: list[Any] = []
    for number, node in enumerate(model.graph.node):
        if not own(node) or node.op_type not in _TWINS:
            nodes.append(node)
            continue
        weight = f"twin {number}"
        told = attributes(node)
        if node.op_type in ("QDepthwise", "SparseBlock"):  # whose kernel is its weight's
            told.setdefault("kernel_shape", stored.get(node.input[1 if node.op_type == "QDepthwise" else 4], ())[2:])
        made, shape = _TWINS[node.op_type](node, told, weight)
        nodes += made
        if shape:
            graph.input.append(helper.make_tensor_value_info(weight, TensorProto.FLOAT, shape))
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return copy


def attributes(node: Any) -> dict[str, Any]:
    """The attributes of a node by name."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


Twin = tuple[list[Any], Sequence[int]]
"""Nodes, and the shape of a weight that they read, if any."""


def _node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, list(inputs), [output], **attributes)


def _window(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in ("strides", "dilations", "pads") if name in told}


def _conv(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    kernel = told.get("kernel_shape", (1, 1))
    made = _node("Conv", [node.input[0], weight], node.output[0], kernel_shape=kernel, **_window(told))
    return [made], (told["rows"], told["inputs"], *kernel)


def _linear(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    return [_node("MatMul", [node.input[0], weight], node.output[0])], (told["inputs"], told["rows"])


def _depthwise(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    return [_node("Conv", node.input[:2], node.output[0], **_window(told))], ()


def _pooled(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    window = {name: [*value, 1] for name, value in _window(told).items() if name != "pads"}
    top, left, bottom, right = told.get("pads", (0, 0, 0, 0))
    kernel = [*told.get("kernel_shape", (1, 1)), 1]
    pads = [top, left, 0, bottom, right, 0]
    return [_node("MaxPool", node.input[:1], node.output[0], kernel_shape=kernel, pads=pads, **window)], ()


def _conv4(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    """Of images (batch, channels / 4, height, width, 4): a convolution over three dimensions."""
    ((pool,), _), groups = _pooled(node, told, weight), -(-told["rows"] // 4)
    made = _node("Conv", [node.input[0], weight], node.output[0])
    made.attribute.extend(pool.attribute)
    return [made], (groups, -(-told["inputs"] // 4), *told.get("kernel_shape", (1, 1)), 1)


def _packed(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    names = [f"{weight}.{i}" for i in range(4)]
    axes = [_constant(name, axis) for name, axis in ((f"{weight}.one", 1), (f"{weight}.four", 4))]
    pooled = {"kernel_shape": [4, 1, 1], "strides": [4, 1, 1], "ceil_mode": 1}
    return [
        *axes,
        _node("Unsqueeze", [node.input[0], f"{weight}.one"], names[0]),
        _node("MaxPool", [names[0]], names[1], **pooled),
        _node("Squeeze", [names[1], f"{weight}.one"], names[2]),
        _node("Unsqueeze", [names[2], f"{weight}.four"], names[3]),
        _node("Concat", [names[3]] * 4, node.output[0], axis=4),
    ], ()


def _unpacked(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    return [
        _constant(f"{weight}.four", 4),
        _node("Conv", [node.input[0], weight], f"{weight}.0", kernel_shape=[1, 1, 4]),
        _node("Squeeze", [f"{weight}.0", f"{weight}.four"], node.output[0]),
    ], (told["channels"], -(-told["channels"] // 4), 1, 1, 4)


def _averaged(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    from onnx import TensorProto, helper

    axes = helper.make_tensor("", TensorProto.INT64, [2], [2, 3])
    made = _node("ReduceMax", [node.input[0], f"{weight}.axes"], node.output[0], keepdims=1)
    return [_node("Constant", [], f"{weight}.axes", value=axes), made], ()


def _same(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    return [_node("Identity", node.input[:1], node.output[0])], ()


def _attention(node: Any, told: Mapping[str, Any], weight: str) -> Twin:
    if len(node.input) > 1 and node.input[1]:
        return _same(node, told, weight)
    width = told["heads"] * told["size"]
    return [_node("MatMul", [node.input[0], weight], node.output[0])], (3 * width, width)


def _constant(name: str, value: int) -> Any:
    from onnx import TensorProto, helper

    return _node("Constant", [], name, value=helper.make_tensor("", TensorProto.INT64, [1], [value]))


_LAYERS = ("SparseConv", "SparseLinear", "QSparseConv")
_TWINS: dict[str, Callable[[Any, Mapping[str, Any], str], Twin]] = {
    "SparseConv": _conv,
    "SparseBlock": _conv,
    "SparseLinear": _linear,
    "Depthwise": _depthwise,
    "Attention": _attention,
    "LayerNorm": _same,
    "QSparseConv": _conv4,
    "QDepthwise": _pooled,
    "QMaxPool": _pooled,
    "QMean": _averaged,
    "QAdd": _same,
    "Pack4": _packed,
    "Quantize4": _packed,
    "Unpack4": _unpacked,
}
"""The operation, and what plain ones give outputs of its sizes."""
