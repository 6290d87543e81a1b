"""Keeping layers in float that stand between integers, where ONNX Runtime would round their weights unasked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

_LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_MOVES = ("Flatten", "Identity", "MaxPool", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


def keep_float(proto: Any) -> None:
    """Rewrites ``proto``, which still has its recorded shapes, in place, so that its float layers stay float.

    Where a layer with float weights reads a DequantizeLinear of one scale, ONNX Runtime's WeightBiasQuantization, which
    is on by default, takes it for a quantized layer whose weights were forgotten, and rounds them to int8 with one
    scale a tensor. It asks for one scale and for a bias of one dimension, and it looks through what only moves values.
    So here

    * a ``Gemm`` gets its bias as a matrix of one row (without a bias, one zero), which costs nothing;
    * any other layer reads a DequantizeLinear that repeats its scale for each index of dimension 1, which takes no
      longer as long as there are dimensions behind that one;
    * and where there are none, or one index, it reads a copy, a ``Concat`` of one tensor.

    A ``MatMul`` counts, for the runtime makes a ``Gemm`` of it and the addition behind. Layers whose outputs are
    not rounded count too: older versions rounded the weights of those as well. Values stay what they were.
    """
    graph = proto.graph
    made = {name: node for node in graph.node for name in node.output}
    writer = _Writer(graph)
    for node, fixed in _float_layers(graph):
        source, reader = made.get(node.input[0]), node
        while source is not None and source.op_type in _MOVES and source.input[0] not in fixed:
            source, reader = made.get(source.input[0]), source
        if source is None or source.op_type != "DequantizeLinear":
            continue
        if node.op_type == "Gemm":
            writer.matrix_bias(node)
        elif (twin := writer.per_channel(source)) is not None:
            reader.input[0] = twin
        elif not _is_per_channel(source):
            writer.copy(node)
    writer.close()


def _float_layers(graph: Any) -> list[tuple[Any, set[str]]]:
    """The layers whose weights are constants and no stored integers, each with the names of all constants."""
    fixed = {tensor.name for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type != "DequantizeLinear" and fixed.issuperset(node.input) and node.input:
            fixed.update(node.output)
        elif node.op_type in _LAYERS and node.input[1] in fixed:
            found.append((node, fixed))
    return found


def _read(graph: Any) -> set[str]:
    """The names that are read in ``graph``, by the graphs inside its loops and branches too, and what it gives."""
    found = {value.name for value in graph.output}
    for node in graph.node:
        found.update(node.input)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                found |= _read(inner)
    return found


def _is_per_channel(node: Any) -> bool:
    return any(attribute.name == "axis" for attribute in node.attribute)


class _Writer:
    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._shapes = {v.name: v.type.tensor_type.shape.dim for v in (*graph.value_info, *graph.input, *graph.output)}
        taken = {*self._tensors, *(name for node in graph.node for name in node.output)}
        self._fresh: Iterator[str] = (name for i in count() if (name := f"float{i}") not in taken)
        self._after: dict[str, Any] = {}
        self._before: dict[str, Any] = {}

    def matrix_bias(self, node: Any) -> None:
        import numpy as np
        from onnx import numpy_helper

        name = node.input[2] if len(node.input) > 2 else ""
        if name and (name not in self._tensors or len(self._tensors[name].dims) != 1):
            return
        bias = numpy_helper.to_array(self._tensors[name]) if name else np.zeros(1, np.float32)
        del node.input[2:]
        node.input.append(self._constant(bias.reshape(1, -1)))

    def per_channel(self, source: Any) -> str | None:
        """The name of what ``source`` gives, by a scale for each index of dimension 1; None where that is no way."""
        import numpy as np
        from onnx import helper, numpy_helper

        told = source.output[0]
        if told in self._after:
            return str(self._after[told].output[0])
        shape = self._shapes.get(told, ())
        settings = [self._tensors[name] for name in source.input[1:] if name in self._tensors]
        if len(shape) < 3 or shape[1].dim_value < 2 or _is_per_channel(source) or len(settings) < len(source.input) - 1:
            return None
        values = [np.full(shape[1].dim_value, numpy_helper.to_array(t).reshape(())) for t in settings]
        twin = helper.make_node(
            "DequantizeLinear",
            [source.input[0], *(self._constant(value) for value in values)],
            [next(self._fresh)],
            axis=1,
        )
        self._after[told] = twin
        return str(twin.output[0])

    def copy(self, node: Any) -> None:
        from onnx import helper

        given = node.input[0]
        if given not in self._before:
            self._before[given] = helper.make_node("Concat", [given], [next(self._fresh)], axis=0)
        node.input[0] = self._before[given].output[0]

    def close(self) -> None:
        """Takes the new nodes in; what nobody reads any more goes, its traces to the one in its place."""
        read = _read(self._graph) | set(self._before)
        nodes = list(self._graph.node)
        del self._graph.node[:]
        for node in nodes:
            twin = self._after.get(node.output[0])
            if twin is None or node.output[0] in read:
                self._graph.node.append(node)
            else:
                twin.metadata_props.extend(node.metadata_props)
            if twin is not None:
                self._graph.node.append(twin)
            self._graph.node.extend(self._before[name] for name in node.output if name in self._before)
        read = _read(self._graph)
        for tensor in list(self._graph.initializer):
            if tensor.name not in read:
                self._graph.initializer.remove(tensor)

    def _constant(self, values: Any) -> str:
        from onnx import numpy_helper

        name = next(self._fresh)
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name
