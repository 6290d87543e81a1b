"""Writing what torch exports in the forms for which the runtime has integer kernels."""

from __future__ import annotations

from typing import Any

from flyweight.measure.graph import attribute


def rewrite(proto: Any, integers: bool) -> None:
    """Rewrites three patterns of ``proto``, which still has its recorded shapes, in place; values stay what they were.

    A ``Gather`` of a stored table's rows gathers codes and scales, so that the runtime need not make the whole table
    of floats each time. ``ReduceMean`` over all of space becomes ``GlobalAveragePool``, in front of whose rounding any
    change of shape is moved. With ``integers``, where activations are integers too, a stored weight that is transposed
    before a ``MatMul`` is stored transposed.
    """
    _gathered_codes(proto.graph)
    _global_average(proto.graph)
    if integers:
        # Not for weights alone: there the runtime would take a kernel that rounds activations, unasked.
        _transposed_weights(proto.graph)


def _global_average(graph: Any) -> None:
    from onnx import helper, numpy_helper

    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.input, *graph.output)}
    constants = {t.name: t for t in graph.initializer}
    readers = _readers(graph)
    nodes: list[Any] = []
    after: dict[str, Any] = {}
    for node in graph.node:
        axes = constants.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
        rank = ranks.get(node.input[0], 0) if node.op_type == "ReduceMean" else 0
        if axes is None or rank < 3 or {int(a) % rank for a in numpy_helper.to_array(axes)} != set(range(2, rank)):
            nodes.append(node)
            continue
        kept = all(a.i for a in node.attribute if a.name == "keepdims")
        source, target = node.input[0], node.output[0]
        node.op_type = "GlobalAveragePool"
        del node.attribute[:]
        node.input[:] = [source]
        nodes.append(node)
        if kept:
            continue
        users = readers.get(target, [])
        squeeze = helper.make_node("Squeeze", [f"{target}.wide", axes.name], [target])
        node.output[:] = [f"{target}.wide"]
        squeeze.metadata_props.extend(node.metadata_props)
        if len(users) == 1 and users[0].op_type == "QuantizeLinear":
            # The rounding reads the average itself; its codes lose the empty dimensions.
            (rounding,) = users
            codes = rounding.output[0]
            rounding.input[0], rounding.output[0] = f"{target}.wide", f"{codes}.wide"
            squeeze.input[0], squeeze.output[0] = f"{codes}.wide", codes
            after[f"{codes}.wide"] = squeeze
        else:
            nodes.append(squeeze)
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        if node.output[0] in after:
            graph.node.append(after[node.output[0]])


def _gathered_codes(graph: Any) -> None:
    from onnx import TensorProto, helper, numpy_helper

    tensors = {t.name: t for t in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    nodes: list[Any] = []
    for node in graph.node:
        source = made.get(node.input[0]) if node.op_type == "Gather" and not attribute(node, "axis", 0) else None
        if source is None or source.op_type != "DequantizeLinear" or not tensors.keys() >= set(source.input):
            nodes.append(node)
            continue
        codes, scale = (tensors[name] for name in source.input[:2])
        a_row = len(scale.dims) == 1 and scale.dims[0] != 1
        blocked = attribute(source, "block_size", 0)
        if blocked or (a_row and attribute(source, "axis", 1) != 0) or len(codes.dims) != 2:
            nodes.append(node)
            continue
        told, index = node.output[0], node.input[1]
        rows = helper.make_node("Gather", [codes.name, index], [f"{told}.codes"], axis=0)
        whole = helper.make_node("Cast", [f"{told}.codes"], [f"{told}.whole"], to=TensorProto.FLOAT)
        factor = scale.name
        nodes += [rows, whole]
        if a_row:
            factor = f"{told}.scale"
            column = numpy_helper.from_array(numpy_helper.to_array(scale).reshape(-1, 1), f"{scale.name}.column")
            if column.name not in tensors:
                tensors[column.name] = column
                graph.initializer.append(column)
            nodes.append(helper.make_node("Gather", [column.name, index], [factor], axis=0))
        product = helper.make_node("Mul", [f"{told}.whole", factor], [told])
        product.metadata_props.extend(node.metadata_props)
        nodes.append(product)
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    del graph.node[:]
    graph.node.extend(n for n in nodes if n.op_type != "DequantizeLinear" or n.output[0] in read)


def _transposed_weights(graph: Any) -> None:
    from onnx import numpy_helper

    tensors = {t.name: t for t in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    readers = _readers(graph)
    for node in list(graph.node):
        source = made.get(node.input[0]) if node.op_type == "Transpose" else None
        if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in tensors:
            continue
        codes = tensors[source.input[0]]
        axis = [a for a in source.attribute if a.name == "axis"]
        blocked = any(a.name == "block_size" for a in source.attribute)
        if len(codes.dims) != 2 or blocked or len(readers[source.output[0]]) != 1 or len(readers[codes.name]) != 1:
            continue
        turned = numpy_helper.from_array(numpy_helper.to_array(codes).T.copy(), codes.name)
        codes.CopyFrom(turned)
        for told in axis:
            told.i = 1 - told.i
        source.output[0] = node.output[0]
        graph.node.remove(node)


def _readers(graph: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found
