"""Taking from an ONNX graph every byte that no runtime reads; in small models names and traces outweigh the weights."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def slim(proto: Any) -> None:
    """Strips ``proto`` (an ``onnx.ModelProto``) in place; it computes what it computed.

    The node that yields a module's output is named after it (``features.0``; of a module that is called more than once,
    its last call), any other has no name, and all lose their traces. Tensors between nodes get the shortest names there are; the graph's inputs
    keep theirs, its output is ``output`` (of several, ``output_0`` and so on). Doc strings and recorded shapes go.
    """
    last = {module_path(node): index for index, node in enumerate(proto.graph.node)}
    for index, node in enumerate(proto.graph.node):
        path = module_path(node)
        node.name = path if last[path] == index else ""
        node.ClearField("doc_string")
        del node.metadata_props[:]
    graph = proto.graph
    del graph.value_info[:]
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
    if not any(_subgraphs(node) for node in graph.node):
        _rename(graph)


def module_path(node: Any) -> str:
    """The dotted name of the module that ``node`` was traced from, ``""`` for the model itself or where unknown."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = ast.literal_eval(entry.value)
            return str(scopes[-2]) if len(scopes) > 1 else ""
    return ""


def _subgraphs(node: Any) -> bool:
    return any(attribute.HasField("g") or len(attribute.graphs) > 0 for attribute in node.attribute)


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
    for tensor in graph.initializer:
        tensor.name = named(tensor.name)


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
