"""Finding attention, which the kernels compute beside sparse linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flyweight.deploy.export.sparse.heads import Inside, Shape
from flyweight.deploy.export.sparse.net import Net
from flyweight.measure.graph import attribute


@dataclass(frozen=True, eq=False)
class Attention:
    """softmax(``scale`` · q kᵀ + ``mask``) v in ``heads`` heads of ``size``: ``q``, ``k``, ``v`` and the output of the
    last of ``nodes`` are ``(batch, tokens, heads · size)``; ``mask`` stretches to (batch, heads, tokens, tokens), or is
    "". ``inputs`` are those of them that are no constants."""

    nodes: tuple[Any, ...]
    q: str
    k: str
    v: str
    mask: str
    inputs: tuple[str, ...]
    heads: int
    size: int
    scale: float


def attentions(net: Net) -> list[Attention]:
    """Every attention, as exporters write it out, between linear layers; what lies inside nobody else reads."""
    return [found for node in net.nodes if node.op_type == "Softmax" and (found := _around(net, node)) is not None]


def _around(net: Net, softmax: Any) -> Attention | None:
    if attribute(softmax, "axis", -1) not in (-1, 3):
        return None
    scores = str(softmax.input[0])
    add = net.makers.get(scores)
    if add is None or add.op_type != "Add":
        return _between(net, [softmax], scores, "")
    first, second = map(str, add.input)
    return _between(net, [softmax, add], first, second) or _between(net, [softmax, add], second, first)


def _between(net: Net, nodes: Sequence[Any], scores: str, mask: str) -> Attention | None:
    """The attention that ``nodes``, its softmax first, belong to, where ``scores`` are its scores before the mask."""
    inside = Inside(net, nodes)
    factor, scores = inside.scale(scores)
    product = inside.maker(scores, "MatMul")
    last = net.reader(nodes[0].output[0])
    if product is None or last is None or last.op_type != "MatMul" or last.input[0] != nodes[0].output[0]:
        return None
    inside.add(last)
    q_factor, at_q = inside.scale(str(product.input[0]))
    k_factor, at_k = inside.scale(str(product.input[1]))
    q, k = inside.heads(at_q, (0, 2, 1, 3)), inside.heads(at_k, (0, 2, 3, 1))
    v = inside.heads(str(last.input[1]), (0, 2, 1, 3))
    if q is None or k is None or v is None or not (q[1] == k[1] == v[1]):
        return None
    shapes = [net.shapes[name] for name, _ in (q, k)]
    assert shapes[0] is not None and shapes[1] is not None  # heads were cut from them
    heads, size = q[1]
    if mask and not _stretches(net, mask, (shapes[0][0], heads, shapes[0][1], shapes[1][1])):
        return None
    if not inside.joined(last, shapes[0]):
        return None
    found = inside.nodes()
    read = [name for name in (q[0], k[0], v[0], mask) if name]
    if not found or not _whole(net, found, read):
        return None
    inputs = tuple(name for name in read if name not in net.tensors)
    return Attention(found, q[0], k[0], v[0], mask, inputs, heads, size, factor * q_factor * k_factor)


def _stretches(net: Net, mask: str, scores: Shape) -> bool:
    """Whether a mask can be added to scores, with a number of its own for each key."""
    shape = tuple(net.tensors[mask].dims) if mask in net.tensors else net.shapes.get(mask)
    if shape is None or not 1 <= len(shape) <= 4 or shape[-1] != scores[-1]:
        return False
    return all(a in (1, b) for a, b in zip(shape, scores[-len(shape) :], strict=True))


def _whole(net: Net, nodes: Sequence[Any], read: Sequence[str]) -> bool:
    """Whether ``nodes`` read nothing but each other, ``read`` and constants."""
    known = {*read, *(name for node in nodes for name in node.output)}
    return all(name in known or name in net.tensors for node in nodes for name in node.input if name)
