"""The weights of a graph as the file stores them: which constants, how many numbers of a weight, how many not zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flyweight.measure.graph import Graph, attribute
from flyweight.measure.own_ops import skipping

_FIRST = frozenset(
    (*("Cast", "DequantizeLinear", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),)
)
"""Operations whose first input holds the values of what they give."""

_PLACED = 2
"""The input of ScatterND and its like that holds the values; the others are zeros and places."""


@dataclass(frozen=True)
class Stored:
    """A tensor of ``elements`` numbers whose values the constant ``name`` holds: all, or, where it is ``sparse``, those
    that are not zero for good."""

    name: str
    elements: int
    sparse: bool


def stored(graph: Graph, tensor: str) -> Stored | None:
    """Where the values of ``tensor`` are stored; None where an input changes them, or they come about otherwise.

    It is followed through changes of shape and of type, DequantizeLinear, and back to the kept values where a file
    keeps those of a sparse weight with their places.
    """
    if tensor not in graph.fixed:
        return None
    name, sparse = tensor, False
    while name not in graph.constants:
        node = graph.makers[name]
        if node.op_type.startswith("Scatter"):
            if not _blank(graph, node.input[0]):
                return None
            name, sparse = node.input[_PLACED], True
        elif node.op_type in _FIRST:
            name = node.input[0]
        else:
            return None
    if tensor not in graph.shapes:
        return None
    return Stored(name, math.prod(graph.shapes[tensor]), sparse)


def _blank(graph: Graph, name: str) -> bool:
    """Whether a tensor that no input changes is known to be all zeros."""
    from onnx import numpy_helper

    if name in graph.constants:
        return nonzero(graph, name) == 0
    maker = graph.makers.get(name)
    if maker is None or maker.op_type != "ConstantOfShape":
        return False
    value = attribute(maker, "value")
    return value is None or not numpy_helper.to_array(value).any()


def places(graph: Graph) -> frozenset[str]:
    """The constants that tell nothing but where numbers stand: bitmaps, and what it takes to read them."""
    found: set[str] = set()
    waiting = [name for node in graph.nodes if node.op_type == "NonZero" for name in node.input]
    waiting += [weight.keep for node in graph.nodes for weight in skipping(node)]
    waiting = [name for name in waiting if name in graph.fixed]
    while waiting:
        name = waiting.pop()
        if name in graph.constants:
            found.add(name)
        elif name in graph.makers:
            waiting += [n for n in graph.makers[name].input if n]
    return frozenset(found)


def nonzero(graph: Graph, name: str) -> int | None:
    """How many numbers of a constant are not zero; None where it lies outside the file."""
    import numpy as np
    from onnx import numpy_helper

    tensor = graph.constants[name]
    if tensor.data_location == tensor.EXTERNAL:
        return None
    return int(np.count_nonzero(numpy_helper.to_array(tensor)))
