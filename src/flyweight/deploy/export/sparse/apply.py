"""Putting operations of ours in the place of the layers that they compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyweight.deploy.export.sparse.change import Change
from flyweight.deploy.export.sparse.join import joined
from flyweight.deploy.export.sparse.net import Net
from flyweight.deploy.export.sparse.turn import turned
from flyweight.kernels.library import DOMAIN

VERSION = 1
"""Of the domain of our operations."""


def apply(proto: Any, net: Net, changes: Sequence[Change], turn: bool = False) -> None:
    """Puts each of ``changes``, found in ``net``, in the place of its last node, and those that follow one another
    into one, their tokens turned first if asked (``turn.py``); constants that nobody reads any more go. ``proto`` is
    that of ``net``, or a copy."""
    if not changes:
        return
    graph = proto.graph
    nodes = list(graph.node)
    made = {net.places[id(change.nodes[-1])]: change.made for change in changes}
    gone = {net.places[id(node)] for change in changes for node in change.nodes}
    written = [made.get(place, node) for place, node in enumerate(nodes) if place in made or place not in gone]
    if turn:
        written = turned(written, net, net.outputs)
    copies = joined([type(node).FromString(node.SerializeToString()) for node in written], net.outputs)
    del graph.node[:]
    graph.node.extend(copies)
    known = {tensor.name for tensor in graph.initializer}
    tensors = {tensor.name: tensor for change in changes for tensor in change.tensors}
    graph.initializer.extend(tensor for name, tensor in tensors.items() if name not in known)
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for tensor in list(graph.initializer):
        if tensor.name not in read:
            graph.initializer.remove(tensor)
    declare(proto)


def declare(proto: Any) -> None:
    """Says in ``proto`` that it has operations of ours."""
    from onnx import helper

    if all(entry.domain != DOMAIN for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
