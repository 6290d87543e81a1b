"""The heads of an attention in a graph: cut from tokens, turned about, and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyweight.deploy.export.sparse.net import Net
from flyweight.measure.graph import attribute

Shape = tuple[int | str, ...]


class Inside:
    """The nodes of one attention, collected from its softmax on: those that it is made with, and what is found by the
    methods."""

    def __init__(self, net: Net, nodes: Sequence[Any]) -> None:
        self._net = net
        self._found = list(nodes)

    def add(self, node: Any) -> None:
        """Takes ``node`` in."""
        self._found.append(node)

    def nodes(self) -> tuple[Any, ...]:
        """The nodes in their order; none where another node reads what lies between them."""
        net = self._net
        found = {id(node): node for node in self._found}
        ordered = tuple(sorted(found.values(), key=lambda node: net.places[id(node)]))
        for node in ordered[:-1]:
            for name in node.output:
                if name in net.outputs or any(id(reader) not in found for reader in net.readers(name)):
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
        at: tuple[int, ...] = (0, 1, 2, 3)
        while True:
            swapped = self._swapped(name)
            if swapped is not None:
                name, perm = swapped, (0, 1, 3, 2)
            elif (node := self.maker(name, "Transpose")) is not None:
                name, perm = str(node.input[0]), tuple(attribute(node, "perm", (3, 2, 1, 0)))
            else:
                break
            at = tuple(perm[i] for i in at)
        split = self.maker(name, "Reshape")
        if split is None or at != order:
            return None
        before, after = (self._net.shapes.get(n) for n in (split.input[0], split.output[0]))
        sizes = _split(before, after)
        return None if sizes is None else (str(split.input[0]), sizes)

    def _swapped(self, name: str) -> str | None:
        """The tensor of four axes whose last two are exchanged in ``name``, where that is done as torch's exporter does
        for its fused attention: the first two axes are made one, the others exchanged, the first two cut again."""
        makers = self._net.makers
        cut = makers.get(name)
        if cut is None or cut.op_type != "Reshape":
            return None
        turned = makers.get(cut.input[0])
        if turned is None or turned.op_type != "Transpose" or tuple(attribute(turned, "perm", ())) != (0, 2, 1):
            return None
        merged = makers.get(turned.input[0])
        if merged is None or merged.op_type != "Reshape":
            return None
        x = str(merged.input[0])
        to_three, to_four = (self._sizes(str(node.input[1]), x) for node in (merged, cut))
        if to_three != [-1, "2", "3"] or to_four != ["0", "1", "3", "2"]:
            return None
        for node in (merged, turned, cut):
            self.add(node)
        return x

    def _sizes(self, name: str, x: str) -> list[int | str]:
        """The numbers of a shape, and where they are sizes of ``x`` the axis instead, as a string; [] of any other."""
        value = self._net.constant(name)
        if value is not None:
            return [int(number) for number in value.reshape(-1)]
        node = self._net.makers.get(name)
        found: list[int | str] = []
        if node is not None and node.op_type == "Concat":
            found = [size for part in node.input for size in self._sizes(str(part), x)]
        elif node is not None and node.op_type == "Shape" and node.input[0] == x:
            found = list(map(str, range(len(self._net.shapes.get(x) or ()))))
        elif node is not None and node.op_type == "Slice" and len(node.input) == 3:
            ends = [self._net.scalar(place) for place in node.input[1:]]
            whole = self._sizes(str(node.input[0]), x)
            if None not in ends:
                found = whole[slice(*(int(max(-9, min(9, end))) for end in ends if end is not None))]
        if found:
            self.add(node)
        return found

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
