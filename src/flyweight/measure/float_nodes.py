"""What a quantized graph still computes in float."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from flyweight.measure.graph import Graph
from flyweight.measure.own_ops import own

_PRODUCTS = ("Gemm", "MatMul")
_WEIGHTED = ("Conv", "ConvTranspose", *_PRODUCTS)

_THROUGH = frozenset(
    (
        *("Clip", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad"),
        *("Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    )
)
"""Operations that a runtime does on integers, or inside the operation before."""

_INTEGER = frozenset(
    (
        *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
        *("QSparseConv", "QDepthwise", "QMaxPool", "QMean", "QAdd", "Pack4", "Quantize4", "Unpack4"),
    )
)
_EDGES = frozenset(("QuantizeLinear", "DequantizeLinear", "Constant", "Shape", "ConstantOfShape", "Cast"))


def float_nodes(graph: Graph) -> tuple[str, ...] | None:
    """The nodes that compute in float, as ``"Softmax 'name'"``; None where nothing in the graph is quantized.

    A node computes in integers where all that it reads comes from a DequantizeLinear, its weights too, and what it
    gives goes to a QuantizeLinear; matrix products may give floats. So says the graph; what a runtime makes of it the
    profile tells.
    """
    types = {node.op_type for node in graph.live}
    if not types & ({"QuantizeLinear", "DequantizeLinear"} | _INTEGER):
        return None
    return tuple(f"{node.op_type} {node.name!r}" for node in floating_nodes(graph))


def floating_nodes(graph: Graph) -> list[Any]:
    """The nodes that :func:`float_nodes` names: in a float graph, all that compute."""
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.live:
        for name in node.input:
            readers[name].append(node)
    codes: set[str] = set()  # tensors that stand for integers
    sums: set[str] = set()  # what an integer operation gives before it is rounded to codes
    found = []
    for node in graph.live:
        if node.op_type == "DequantizeLinear" or (own(node) and node.op_type in _INTEGER):
            codes.update(node.output)
        elif node.op_type not in _EDGES | _INTEGER:
            read = set(_read(node, graph))
            through = node.op_type in _THROUGH
            if not read or not read <= codes | (sums if through else set()):
                found.append(node)
            elif through:
                (codes if read <= codes else sums).update(node.output)
            elif node.op_type in _PRODUCTS or _rounded(node, readers):
                sums.update(node.output)
            else:
                found.append(node)
    return found


def _read(node: Any, graph: Graph) -> list[str]:
    if node.op_type in _WEIGHTED:
        return [n for n in node.input[:2] if n]
    return [n for n in node.input if n and n not in graph.fixed]


def _rounded(node: Any, readers: Mapping[str, list[Any]]) -> bool:
    following = [reader for name in node.output for reader in readers[name]]
    return bool(following) and all(
        reader.op_type == "QuantizeLinear" or (reader.op_type in _THROUGH and _rounded(reader, readers))
        for reader in following
    )
