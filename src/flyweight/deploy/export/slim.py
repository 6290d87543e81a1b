"""Taking from an ONNX graph every byte that no runtime reads; in small models names and traces outweigh the weights."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

_WINDOWS = ("Conv", "MaxPool", "AveragePool")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def slim(proto: Any) -> None:
    """Strips ``proto`` (an ``onnx.ModelProto``) in place; it computes what it computed.

    The last node of a module, if it is the module's own and not of one inside, is named after it (``features.0``): that
    node yields the module's output. Any other has no name, and all lose their traces. Tensors between nodes get the
    shortest names there are; the graph's inputs keep theirs, its output is ``output`` (of several, ``output_0`` and so
    on). Doc strings and attributes at their default go; so do recorded shapes, but for those that no runtime could
    infer (what NonZero finds in constants). Equal constants are kept once.
    """
    paths = [module_path(node) for node in proto.graph.node]
    last = {inside: index for index, path in enumerate(paths) for inside in _up(path)}
    for index, node in enumerate(proto.graph.node):
        node.name = paths[index] if last.get(paths[index]) == index else ""
        node.ClearField("doc_string")
        del node.metadata_props[:]
    _drop_defaults(proto)
    graph = proto.graph
    plain = not any(_subgraphs(node) for node in graph.node)
    if plain:
        _merge_constants(graph)
    _drop_shapes(graph)
    del graph.metadata_props[:]
    graph.name = "g"
    graph.ClearField("doc_string")
    proto.ClearField("doc_string")
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.ClearField("doc_string")
        del value.metadata_props[:]
    for value in (*graph.input, *graph.output):
        first = value.type.tensor_type.shape.dim[:1]
        if first and first[0].dim_param:
            first[0].dim_param = "batch"
    if plain:
        _rename(graph)


def module_path(node: Any) -> str:
    """The dotted name of the module that ``node`` was traced from, ``""`` for the model itself or where unknown."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = ast.literal_eval(entry.value)
            path = str(scopes[-2]) if len(scopes) > 1 else ""
            return path.partition("parametrizations.")[0].rstrip(".")
    return ""


def _up(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition(".")[0]


def _subgraphs(node: Any) -> bool:
    return any(attribute.HasField("g") or len(attribute.graphs) > 0 for attribute in node.attribute)


def _drop_defaults(proto: Any) -> None:
    from onnx import defs

    opset = next(entry.version for entry in proto.opset_import if not entry.domain)
    for node in proto.graph.node:
        if node.domain:
            continue
        schema = defs.get_schema(node.op_type, opset).attributes
        # For these the schema tells the default in words only.
        same = {"pads": 0, "strides": 1, "dilations": 1} if node.op_type in _WINDOWS else {}
        for attribute in list(node.attribute):
            known = schema.get(attribute.name)
            default = (
                known is not None
                and known.default_value.type == attribute.type
                and _value(attribute) == _value(known.default_value)
            )
            if default or (attribute.name in same and set(attribute.ints) <= {same[attribute.name]}):
                node.attribute.remove(attribute)


def _drop_shapes(graph: Any) -> None:
    found = {node.output[0] for node in graph.node if node.op_type == "NonZero"}
    for value in list(graph.value_info):
        if value.name not in found or not all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim):
            graph.value_info.remove(value)


def _value(attribute: Any) -> bytes:
    bare = type(attribute)()
    bare.CopyFrom(attribute)
    for field in ("name", "doc_string", "ref_attr_name"):
        bare.ClearField(field)
    return bytes(bare.SerializeToString())


def _merge_constants(graph: Any) -> None:
    """Zero points are mostly equal, and small models have more of them than of anything else."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    alias: dict[str, str] = {}
    outputs = {value.name for value in graph.output}
    for tensor in list(graph.initializer):
        value = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
        if not tensor.raw_data or tensor.name in outputs:
            continue
        if value in first:
            alias[tensor.name] = first[value]
            graph.initializer.remove(tensor)
        else:
            first[value] = tensor.name
    for node in graph.node:
        node.input[:] = [alias.get(name, name) for name in node.input]
    read = outputs.union(*(node.input for node in graph.node))
    for tensor in list(graph.initializer):
        if tensor.name not in read:
            graph.initializer.remove(tensor)


def _rename(graph: Any) -> None:
    inputs = {value.name for value in graph.input}
    short: dict[str, str] = {"": "", **{name: name for name in inputs}}
    for index, value in enumerate(graph.output):
        if value.name not in inputs:
            name = "output" if len(graph.output) == 1 else f"output_{index}"
            short[value.name] = value.name = name
    fresh = _names(set(short.values()))

    def named(old: str) -> str:
        if old not in short:
            short[old] = next(fresh)
        return short[old]

    for node in graph.node:
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
    for value in (*graph.initializer, *graph.value_info):
        value.name = named(value.name)


def _names(taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        text, rest = "", number
        while True:
            text = _DIGITS[rest % 36] + text
            rest = rest // 36 - 1
            if rest < 0:
                break
        if text not in taken:
            yield text
        number += 1
