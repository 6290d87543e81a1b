"""The multiply-accumulates of the sparse kernels' operations: of the dense layers, and those that are left."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flyweight.measure.graph import Graph
from flyweight.measure.own_ops import Skipping, attributes, skipping


@dataclass(frozen=True)
class Product:
    """``count`` multiply-accumulates of a dense layer, of which those by the ``kept`` tiles of its weight are computed;
    all where that is None."""

    count: int
    kept: Skipping | None = None

    def computed(self, graph: Graph) -> float:
        """How many are: the dense ones times the share of numbers that lie in kept tiles."""
        if self.kept is None:
            return self.count
        return self.count * min(1.0, graph.elements(self.kept.values) / max(1, self.kept.elements))


def products(node: Any, graph: Graph) -> list[Product] | None:
    """The products that ``node``, an operation of ours, stands for; None where a size is unknown, [] where there is
    none."""
    if node.op_type in ("LayerNorm", "QAdd", "QMaxPool", "QMean", "Pack4", "Quantize4", "Unpack4"):
        return []
    names = [name for name in (*node.input, *node.output) if name and name not in graph.fixed]
    if any(name not in graph.shapes for name in names):
        return None
    return list(_products(node, graph))


def _products(node: Any, graph: Graph) -> Iterator[Product]:
    told, weights = attributes(node), list(skipping(node))
    out, x = graph.shapes[node.output[0]], graph.shapes[node.input[0]]
    if node.op_type == "SparseLinear":
        yield Product(math.prod(out) * told["inputs"], weights[0])
    elif node.op_type in ("SparseConv", "QSparseConv"):
        taps = math.prod(told.get("kernel_shape", (1, 1)))
        yield Product(out[0] * out[2] * out[3] * told["rows"] * told["inputs"] * taps, weights[0])
    elif node.op_type in ("Depthwise", "QDepthwise"):
        weight = graph.shapes[node.input[1]]
        yield Product(out[0] * out[2] * out[3] * math.prod(weight))
    elif node.op_type == "SparseBlock":
        places = out[0] * out[2] * out[3]
        if len(weights) > 1:
            yield Product(x[0] * x[2] * x[3] * told["expand_rows"] * told["inputs"], weights[0])
        yield Product(places * math.prod(graph.shapes[node.input[4]]))
        yield Product(places * told["rows"] * told["expand_rows"], weights[-1])
    elif node.op_type == "Attention":
        axis = 3 if len(x) == 4 else 1  # of tokens: features before them make images of one row
        keys = graph.shapes[node.input[1]][axis] if len(node.input) > 1 and node.input[1] else x[axis]
        yield Product(2 * x[0] * x[axis] * keys * told["heads"] * told["size"])
