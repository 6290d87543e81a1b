"""How many weights an artifact stores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from flyweight.measure.graph import Graph, attribute
from flyweight.measure.own_ops import own, skipping
from flyweight.measure.stored import nonzero, places, stored

_SETTINGS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"), (1, 2)),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "MatMulNBits": (2, 3),
    "Clip": (1, 2),
    "Pad": (1, 2, 3),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Dropout": (1, 2),
    "OneHot": (1, 2),
    "Range": (0, 1, 2),
    "NonMaxSuppression": (2, 3, 4),
}
"""Inputs that set how an operation works (scales, zero-points, bounds) and are no weights."""

_INDICES = {"INT64", "INT16", "UINT16", "UINT32", "UINT64", "BOOL", "STRING"}
"""Types of shapes, axes and indices; weights are floats, or codes of at most 8 bits with int32 biases."""

_NARROW = {"INT4": 4, "INT2": 2}
"""Types of which several share a byte."""


def parameters(graph: Graph) -> int:
    """The weights and biases stored, each once however often it is used.

    Scales, zero-points, shapes, indices and scalars are not counted, so a quantized graph has as many as its
    float twin. Of a weight whose zeros are left out of the file those that are kept count, and its bitmap does not;
    zeros that are stored count, but those in tiles of a layer on the sparse kernels do not. A batch normalization that
    was not folded counts all four numbers a channel that it stores.
    """
    return sum(_count(graph, name) for name in weights(graph))


def weight_bytes(graph: Graph) -> int:
    """The bytes of the weights that :func:`parameters` counts; the rest of the file is the graph, scales and names."""
    return _bytes(graph, weights(graph))


def place_bytes(graph: Graph) -> int:
    """The bytes of the bitmaps that tell where the weights stand of which zeros were left out."""
    return _bytes(graph, places(graph))


def _bytes(graph: Graph, names: Iterable[str]) -> int:
    import onnx

    total = 0
    for name in names:
        kind = graph.constants[name].data_type
        narrow = _NARROW.get(onnx.TensorProto.DataType.Name(kind).removeprefix("U"))
        bits = narrow or 8 * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
        total += -(-graph.elements(name) * bits // 8)
    return total


def zero_share(graph: Graph) -> float | None:
    """The share of the weights that are 0; None where they lie outside the file, and for a file without any.

    Zeros that the file leaves out count as those that it stores. Codes count, and code 0 stands for 0: the zero-points
    of weights are 0 wherever integer kernels are quick.
    """
    names = list(weights(graph))
    sizes = {name: graph.elements(name) for name in names}
    read = dict.fromkeys(name for node in graph.live for name in node.input if name)
    found = [form for name in read if (form := stored(graph, name)) is not None]
    sizes |= {form.name: form.elements for form in found if form.sparse and form.name in sizes}
    sizes |= {weight.values: weight.elements for node in graph.live for weight in skipping(node)}
    counts = [nonzero(graph, name) for name in names]
    if not names or None in counts:
        return None
    return max(0.0, 1 - sum(c for c in counts if c is not None) / max(1, sum(sizes.values())))


def weights(graph: Graph) -> Iterator[str]:
    """The names of the constants that are weights, in the order of their first use."""
    import onnx

    seen: set[str] = set(places(graph))
    for node in graph.nodes:
        for place, name in enumerate(node.input):
            if name in seen or name not in graph.constants or place in _settings(node):
                continue
            tensor = graph.constants[name]
            if tensor.dims and onnx.TensorProto.DataType.Name(tensor.data_type) not in _INDICES:
                seen.add(name)
                yield name


def _settings(node: Any) -> tuple[int, ...]:
    if own(node):
        return (5,) if node.op_type == "QSparseConv" else (3,) if node.op_type == "QDepthwise" else ()
    return _SETTINGS.get(node.op_type, ())


def _count(graph: Graph, name: str) -> int:
    for node in graph.nodes:
        if any(name == weight.values for weight in skipping(node)):
            return nonzero(graph, name) or 0
        if node.op_type == "MatMulNBits" and name == node.input[1]:  # packed, several to a byte
            return math.prod((attribute(node, "K"), attribute(node, "N")))
    return graph.elements(name)
