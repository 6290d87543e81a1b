"""GELU as the exporter writes it out: x · (1 + erf(x / √2)) / 2, in five operations."""

from __future__ import annotations

import math
from typing import Any

from flyweight.deploy.export.sparse.net import Net

_CLOSE = 1e-5


def gelu(net: Net, x: str) -> tuple[Any, ...]:
    """The nodes, in their order, that compute nothing but the GELU of ``x`` and alone read it; none where it has none.

    The product of the three factors x, ½ and 1 + erf(x / √2) may be taken in any order.
    """
    for first in net.readers(x):
        scaled = _scaled(net, first, x)
        erf = net.reader(first.output[0]) if scaled else None
        if erf is None or erf.op_type != "Erf":
            continue
        add = net.reader(erf.output[0])
        if add is None or add.op_type != "Add" or not _is(net.scalar(net.other(add, erf.output[0])), 1.0):
            continue
        product = _product(net, x, str(add.output[0]))
        nodes = (first, erf, add, *product)
        readers = {id(node) for node in net.readers(x)}
        if product and readers <= {id(node) for node in nodes} and len(net.readers(x)) == 2:
            return tuple(sorted(nodes, key=lambda node: net.places[id(node)]))
    return ()


def _scaled(net: Net, node: Any, x: str) -> bool:
    """Whether ``node`` is x / √2."""
    if node.op_type == "Div":
        return bool(node.input[0] == x) and _is(net.scalar(node.input[1]), math.sqrt(2))
    return node.op_type == "Mul" and _is(net.scalar(net.other(node, x)), math.sqrt(0.5))


def _product(net: Net, x: str, factor: str) -> tuple[Any, ...]:
    """The multiplications that make x · ½ · ``factor``; none where it is something else."""
    nodes: list[Any] = []
    missing = {"x", "half"}
    while missing:
        node = net.reader(factor)
        if node is None or node.op_type != "Mul":
            return ()
        other = net.other(node, factor)
        if other == x and "x" in missing:
            missing.remove("x")
        elif _is(net.scalar(other), 0.5) and "half" in missing:
            missing.remove("half")
        elif missing == {"x", "half"} and (half := _halved(net, x, other)) is not None:
            nodes.append(half)
            missing.clear()
        else:
            return ()
        nodes.append(node)
        factor = str(node.output[0])
    return tuple(nodes)


def _halved(net: Net, x: str, name: str) -> Any | None:
    """The node that makes ``name`` as x / 2, for one reader."""
    node = net.makers.get(name)
    if node is None or node.op_type != "Mul" or x not in node.input or net.reader(name) is None:
        return None
    return node if _is(net.scalar(net.other(node, x)), 0.5) else None


def _is(value: float | None, wanted: float) -> bool:
    return value is not None and abs(value - wanted) < _CLOSE
