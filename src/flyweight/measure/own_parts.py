"""The operations of the sparse kernels that stand in a file as one node, each as a node of its own again."""

from __future__ import annotations

from typing import Any

from flyweight.kernels.library import DOMAIN

NETWORKS = ("QNetwork", "Network")
"""Operations one after another as one node: one that gives bytes, and one that gives floats."""


def with_parts(model: Any) -> Any:
    """``model``, or a copy in which each network of operations is written out: part i of a node has its
    attributes as ``i.<name>``, and ``i.reads`` tells its inputs (``native/ort/network.cpp``)."""
    if not any(map(_network, model.graph.node)):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    nodes = [part for node in model.graph.node for part in (_parts(node) if _network(node) else [node])]
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def _network(node: Any) -> bool:
    return bool(node.domain == DOMAIN and node.op_type in NETWORKS)


def _parts(node: Any) -> list[Any]:
    from onnx import helper

    told: dict[int, dict[str, Any]] = {}
    count = 0
    for attribute in node.attribute:
        place, _, name = attribute.name.partition(".")
        value = helper.get_attribute_value(attribute)
        if name:
            told.setdefault(int(place), {})[name] = value
        else:
            count = value
    results = [*(f"{node.output[0]} {place}" for place in range(count - 1)), node.output[0]]
    parts = []
    for place in range(count):
        attributes = told[place]
        operation, reads = attributes.pop("operation").decode(), attributes.pop("reads")
        names = [node.input[read] if read >= 0 else "" if read == -1 else results[-2 - read] for read in reads]
        part = helper.make_node(operation, names, [results[place]], domain=DOMAIN)
        part.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        parts.append(part)
    return parts
