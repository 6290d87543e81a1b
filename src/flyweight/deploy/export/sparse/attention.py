"""Finding attention and layer normalization, which the kernels compute beside sparse linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flyweight.deploy.export.sparse.net import Net
from flyweight.measure.graph import attribute

Shape = tuple[int | str, ...]


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


def attentions(net: Net) -> list[Attention]:
    """Every attention, as exporters write it out, between linear layers; what lies inside nobody else reads."""
    return [found for node in net.nodes if node.op_type == "Softmax" and (found := _around(net, node)) is not None]


def _around(net: Net, softmax: Any) -> Attention | None:
    inside = _Inside(net)
    inside.add(softmax)
    scores = net.shapes.get(softmax.input[0])
    if scores is None or len(scores) != 4 or attribute(softmax, "axis", -1) not in (-1, 3):
        return None
    mask, at = _mask(net, inside, str(softmax.input[0]), scores)
    factor, at = inside.scale(at)
    product = inside.maker(at, "MatMul")
    if product is None:
        return None
    q_scale, at_q = inside.scale(str(product.input[0]))
    k_scale, at_k = inside.scale(str(product.input[1]))
    q = inside.heads(at_q, (0, 2, 1, 3))
    k = inside.heads(at_k, (0, 2, 3, 1))
    last = net.reader(softmax.output[0])
    if q is None or k is None or last is None or last.op_type != "MatMul" or last.input[0] != softmax.output[0]:
        return None
    inside.add(last)
    v = inside.heads(str(last.input[1]), (0, 2, 1, 3))
    if v is None or not (q[1] == k[1] == v[1]):
        return None
    heads, size = q[1]
    if not inside.joined(last, net.shapes.get(q[0])):
        return None
    nodes = inside.nodes()
    read = [name for name in (q[0], k[0], v[0], mask) if name]
    if not nodes or not _whole(net, nodes, read):
        return None
    inputs = tuple(name for name in read if name not in net.tensors)
    return Attention(nodes, q[0], k[0], v[0], mask, inputs, heads, size, factor * q_scale * k_scale)


def _whole(net: Net, nodes: Sequence[Any], read: Sequence[str]) -> bool:
    """Whether ``nodes`` read nothing but each other, ``read`` and constants."""
    known = {*read, *(name for node in nodes for name in node.output)}
    return all(name in known or name in net.tensors for node in nodes for name in node.input if name)


def _mask(net: Net, inside: _Inside, at: str, scores: Shape) -> tuple[str, str]:
    """The mask that is added to the scores, or "", and the scores before."""
    add = net.makers.get(at)
    if add is None or add.op_type != "Add":
        return "", at
    for product, mask in (tuple(add.input), tuple(add.input)[::-1]):
        made = net.makers.get(product)
        scored = made is not None and made.op_type in ("MatMul", "Mul", "Div") and net.shapes.get(product) == scores
        shape = tuple(net.tensors[mask].dims) if mask in net.tensors else net.shapes.get(mask)
        if scored and shape is not None and _stretches(shape, scores):
            inside.add(add)
            return str(mask), str(product)
    return "", at


def _stretches(shape: Shape, scores: Shape) -> bool:
    """Whether a mask of ``shape`` can be added to the scores, with a number of its own for each key."""
    if not 1 <= len(shape) <= 4 or shape[-1] != scores[-1]:
        return False
    return all(a in (1, b) for a, b in zip(shape, scores[-len(shape) :], strict=True))


class _Inside:
    """The nodes of one attention, collected from its softmax on."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._found: list[Any] = []

    def add(self, node: Any) -> None:
        """Takes ``node`` in."""
        self._found.append(node)

    def nodes(self) -> tuple[Any, ...]:
        """The nodes in their order; none where another node reads what lies between them."""
        places = self._net.places
        ordered = tuple(sorted({id(n): n for n in self._found}.values(), key=lambda node: places[id(node)]))
        for node in ordered[:-1]:
            if self._net.reader(node.output[0]) is None:
                return ()
        return ordered

    def maker(self, name: str, op: str) -> Any | None:
        """The node that makes a tensor, taken in, where it is an ``op``."""
        node = self._net.makers.get(name)
        if node is None or node.op_type != op or node.domain:
            return None
        self.add(node)
        return node

    def scale(self, name: str) -> tuple[float, str]:
        """The constant factor that a tensor was multiplied by, 1 for none, and the tensor before."""
        node = self._net.makers.get(name)
        if node is None or node.op_type not in ("Mul", "Div"):
            return 1.0, name
        for place in (1,) if node.op_type == "Div" else (0, 1):
            factor = self._net.scalar(node.input[place])
            if factor:
                self.add(node)
                return (1 / factor if node.op_type == "Div" else factor), str(node.input[1 - place])
        return 1.0, name

    def heads(self, name: str, order: tuple[int, ...]) -> tuple[str, tuple[int, int]] | None:
        """The tensor of tokens whose heads ``name`` holds, axes in ``order``; and the number and size of the heads."""
        at = (0, 1, 2, 3)
        while (node := self.maker(name, "Transpose")) is not None:
            perm = tuple(attribute(node, "perm", (3, 2, 1, 0)))
            at = tuple(perm[i] for i in at)
            name = str(node.input[0])
        split = self.maker(name, "Reshape")
        if split is None or at != order:
            return None
        before, after = (self._net.shapes.get(n) for n in (split.input[0], split.output[0]))
        sizes = _split(before, after)
        return None if sizes is None else (str(split.input[0]), sizes)

    def joined(self, product: Any, shape: Shape | None) -> bool:
        """Whether what follows ``product`` puts the heads together again, to ``shape``; it is taken in."""
        turned = self._net.reader(product.output[0])
        if turned is None or turned.op_type != "Transpose" or tuple(attribute(turned, "perm", ())) != (0, 2, 1, 3):
            return False
        joined = self._net.reader(turned.output[0])
        if joined is None or joined.op_type != "Reshape" or joined.input[0] != turned.output[0]:
            return False
        self.add(turned)
        self.add(joined)
        return shape is not None and self._net.shapes.get(joined.output[0]) == shape


def _split(before: Sequence[int | str] | None, after: Sequence[int | str] | None) -> tuple[int, int] | None:
    """The two sizes that the last axis was cut into."""
    if before is None or after is None or len(before) != 3 or len(after) != 4 or tuple(before[:2]) != tuple(after[:2]):
        return None
    heads, size = after[2:]
    if not isinstance(heads, int) or not isinstance(size, int) or heads * size != before[2]:
        return None
    return heads, size
