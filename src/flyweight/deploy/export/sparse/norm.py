"""Finding layer normalization, which the kernels compute beside sparse linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flyweight.deploy.export.sparse.net import Net
from flyweight.measure.graph import attribute


@dataclass(frozen=True, eq=False)
class Norm:
    """Layer normalization of ``x`` over its last axis, by ``node``; ``gain`` and ``bias`` are constants' names."""

    node: Any
    x: str
    gain: str
    bias: str
    epsilon: float


def norms(net: Net) -> list[Norm]:
    """Every layer normalization over the last axis, with a constant gain."""
    found = []
    for node in net.nodes:
        if node.op_type != "LayerNormalization" or node.domain or len([n for n in node.output if n]) != 1:
            continue
        shape = net.shapes.get(node.input[0])
        names = [*node.input[1:], ""][:2]
        if shape is None or attribute(node, "axis", -1) not in (-1, len(shape) - 1):
            continue
        values = [net.constant(name) for name in names if name]
        if all(v is not None and v.dtype == "float32" and v.shape == shape[-1:] for v in values):
            found.append(Norm(node, str(node.input[0]), names[0], names[1], attribute(node, "epsilon", 1e-5)))
    return found
