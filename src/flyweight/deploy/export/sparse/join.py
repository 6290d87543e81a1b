"""Operations of ours that follow one another as one node: a runtime then brings its threads together once for all of
them, and what lies between two never leaves our hands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyweight.kernels.library import DOMAIN
from flyweight.measure.own_parts import NETWORKS

INTEGERS = ("Pack4", "QSparseConv", "QDepthwise", "QMaxPool", "QMean", "QAdd", "Quantize4", "Unpack4")
FLOATS = ("SparseConv", "SparseLinear", "Depthwise", "SparseBlock", "Attention", "LayerNorm")
"""The operations that a network may be made of, by what they give."""


def joined(nodes: Sequence[Any], outputs: set[str]) -> list[Any]:
    """``nodes``, in an order in which they can be computed, with each run of operations of ours that gives but one
    tensor to others as one node; ``outputs`` are the graph's."""
    runs: list[list[Any]] = [[]]
    for node in nodes:
        if runs[-1] and _part(runs[-1][-1]) == _part(node):
            runs[-1].append(node)
        else:
            runs.append([node])
    made: list[Any] = []
    for run in runs:
        inside = {id(node) for node in run}
        read = {name for node in nodes if id(node) not in inside for name in node.input} | outputs
        given = [name for node in run for name in node.output if name in read]
        whole = len(run) > 1 and _part(run[0]) and len(given) == 1 and given[0] == run[-1].output[0]
        made += [_network(run)] if whole else run
    return made


def _part(node: Any) -> bool:
    return bool(node.domain == DOMAIN and node.op_type in INTEGERS + FLOATS)


def _network(run: Sequence[Any]) -> Any:
    from onnx import helper

    results = {name: place for place, node in enumerate(run) for name in node.output}
    inputs: dict[str, int] = {}
    attributes: dict[str, Any] = {"parts": len(run)}
    for place, node in enumerate(run):
        reads = [
            -1 if not name else -2 - results[name] if name in results else inputs.setdefault(name, len(inputs))
            for name in node.input
        ]
        attributes |= {f"{place}.operation": node.op_type, f"{place}.reads": reads}
        attributes |= {f"{place}.{a.name}": helper.get_attribute_value(a) for a in node.attribute}
    made = helper.make_node(NETWORKS[run[-1].op_type in FLOATS], list(inputs), [run[-1].output[0]], domain=DOMAIN)
    made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    made.metadata_props.extend(run[-1].metadata_props)
    return made
