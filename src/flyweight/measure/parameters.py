"""How many weights an artifact stores."""

from __future__ import annotations

import math
from collections.abc import Iterator

from flyweight.measure.graph import Graph, attribute

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


def parameters(graph: Graph) -> int:
    """The weights and biases stored, each once however often it is used.

    Scales, zero-points, shapes, indices and scalars are not counted, so a quantized graph has as many as its
    float twin. A batch normalization that was not folded counts all four numbers a channel that it stores.
    """
    return sum(_count(graph, name) for name in weights(graph))


def weight_bytes(graph: Graph) -> int:
    """The bytes of the weights that :func:`parameters` counts; the rest of the file is the graph, scales and names."""
    import onnx

    total = 0
    for name in weights(graph):
        kind = onnx.TensorProto.DataType.Name(graph.constants[name].data_type)
        bits = (
            4
            if kind.endswith("INT4")
            else 8 * onnx.helper.tensor_dtype_to_np_dtype(graph.constants[name].data_type).itemsize
        )
        total += -(-graph.elements(name) * bits // 8)
    return total


def weights(graph: Graph) -> Iterator[str]:
    """The names of the constants that are weights, in the order of their first use."""
    import onnx

    seen: set[str] = set()
    for node in graph.nodes:
        for place, name in enumerate(node.input):
            if name in seen or name not in graph.constants or place in _SETTINGS.get(node.op_type, ()):
                continue
            tensor = graph.constants[name]
            if tensor.dims and onnx.TensorProto.DataType.Name(tensor.data_type) not in _INDICES:
                seen.add(name)
                yield name


def _count(graph: Graph, name: str) -> int:
    for node in graph.nodes:
        if node.op_type == "MatMulNBits" and name == node.input[1]:  # packed, several to a byte
            return math.prod((attribute(node, "K"), attribute(node, "N")))
    return graph.elements(name)
