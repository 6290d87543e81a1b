"""Writing integer operations of ours into a graph. Among them images lie in fours of channels; they are brought into
that order, and back, only where others begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flyweight.deploy.export.bitmap import Left
from flyweight.deploy.export.sparse.apply import declare
from flyweight.deploy.export.sparse.integers import (
    ADD,
    CONV,
    DEPTHWISE,
    FLAT,
    MEAN,
    Grid,
    Integers,
    Op,
    computable,
    grid,
)
from flyweight.deploy.export.sparse.join import joined
from flyweight.deploy.export.sparse.net import Net
from flyweight.deploy.export.sparse.sums import summed
from flyweight.kernels.library import DOMAIN
from flyweight.kernels.matrix import pack

if TYPE_CHECKING:
    from flyweight.deploy.export.sparse.net import Array

BLOCK = (4, 4)


def in_fours(proto: Any, net: Net, ops: Sequence[Op]) -> Left:
    """Puts ``ops``, found in ``net``, into ``proto`` (that of ``net``, or a copy), and counts what their weights leave
    out. What nobody reads any more goes."""
    graph = proto.graph
    writer = _Writer(net)
    ops = summed(net, computable(ops))
    ends = {net.places[id(op.nodes[-1])]: op for op in ops}
    gone = {net.places[id(node)] for op in ops for node in op.nodes}
    ours = {op.result.codes for op in ops}
    kept = {name for place, node in enumerate(net.nodes) if place not in gone for name in node.input}
    nodes: list[Any] = []
    for place, node in enumerate(list(graph.node)):
        if place in ends:
            nodes += writer.written(ends[place], ours, kept | net.outputs)
        elif place not in gone:
            nodes.append(node)
    kinds = [type(node).FromString(node.SerializeToString()) for node in nodes]
    copies = joined(_read_by_somebody(kinds, net.outputs), net.outputs)
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(writer.tensors)
    read = {name for node in graph.node for name in node.input} | net.outputs
    for tensor in list(graph.initializer):
        if tensor.name not in read:
            graph.initializer.remove(tensor)
    if ops:
        declare(proto)
    return writer.left


def _read_by_somebody(nodes: list[Any], outputs: set[str]) -> list[Any]:
    read, kept = set(outputs), []
    for node in reversed(nodes):
        if any(name in read for name in node.output):
            kept.append(node)
            read.update(node.input)
    return kept[::-1]


class _Writer:
    """Makes the nodes and the constants of operations, one after another in the order of the graph."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self.tensors: list[Any] = []
        self.left = Left()
        self._fours: set[str] = set()
        self._names: dict[str, str] = {}  # of codes in fours, where they are not their own

    def written(self, op: Op, ours: set[str], others: set[str]) -> list[Any]:
        """``op`` as nodes; ``ours`` are the codes that our operations give, ``others`` what the rest of the graph
        reads."""
        from onnx import helper

        nodes = []
        for x in op.reads:
            if x.codes not in ours and x.codes not in self._fours:
                self._fours.add(x.codes)
                nodes.append(_packed(self._net, x))
        if op.op == FLAT:
            self._names[op.y.codes] = self._named(op.xs[0].codes)
            return [*nodes, *self._back(op, others)]
        names, attributes = self._told(op)
        read = [self._named(x.codes) for x in op.reads]
        given = [*read[: len(op.xs)], *names, *read[len(op.xs) :]]
        made = helper.make_node(op.op, given, [_fours(op.result.codes)], domain=DOMAIN)
        made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        made.metadata_props.extend((op.sum or op).node.metadata_props)
        nodes.append(made)
        return [*nodes, *self._back(op, others)]

    def _back(self, op: Op, others: set[str]) -> list[Any]:
        """What brings the codes of ``op`` back to where ``others`` look for them, if they do."""
        from onnx import helper

        codes = op.result.codes
        if codes not in others:
            return []
        flat = op.op == FLAT or op.node.op_type == "Gemm"
        image = f"{codes}.image" if flat else codes
        back = helper.make_node("Unpack4", [self._named(codes)], [image], domain=DOMAIN, channels=op.channels)
        return [back, *([helper.make_node("Flatten", [image], [codes])] if flat else [])]

    def _named(self, codes: str) -> str:
        return self._names.get(codes, _fours(codes))

    def _told(self, op: Op) -> tuple[list[str], dict[str, Any]]:
        """The names of the constants, and the attributes."""
        if op.op == ADD:
            return [], _sum(op, "y")
        bounds = {"y_low": op.low, "y_high": op.high}
        if op.op == MEAN:
            (x,) = op.xs
            scales = {"x_scale": x.scale, "y_scale": op.y.scale}
            return [], {"channels": op.channels, **scales, "x_zero": x.zero, "y_zero": op.y.zero}
        assert op.window is not None
        window = {"strides": op.window.strides, "dilations": op.window.dilations, "pads": op.window.pads}
        if op.weight is None:
            return [], {"channels": op.channels, "kernel_shape": op.window.kernel, **window}
        zeros = {"x_zero": op.xs[0].zero, "y_zero": op.y.zero, **bounds}
        rounding = self._rounding(op, op.weight)
        if op.op == DEPTHWISE:
            return [self._constant(op.weight.values, f"{op.weight.name}.whole"), *rounding], {**window, **zeros}
        assert op.op == CONV
        rows, inputs = op.weight.values.shape[:2]
        sizes = {"rows": rows, "inputs": inputs, "block": BLOCK, "kernel_shape": op.window.kernel}
        if op.sum is not None:
            sizes |= {**_sum(op.sum, "sum"), "sum_second": op.place}
        return [*self._matrix(op.weight), *rounding], {**sizes, **window, **zeros}

    def _matrix(self, weight: Integers) -> list[str]:
        """The names of the values and of the bits; no bits where every tile is kept."""
        import numpy as np
        import torch

        values, keep = (t.numpy() for t in pack(torch.from_numpy(np.array(weight.values, order="C")), BLOCK))
        zeros = int((weight.values == 0).sum())
        self.left.elements += weight.values.size
        self.left.zeros += zeros
        rows, inputs, *kernel = weight.values.shape
        if len(values) == -(-rows // 4) * -(-inputs // 4) * 16 * int(np.prod(kernel)):
            keep = keep[:0]
        elif not len(values):  # runtimes are not at their best with tensors of no elements
            values, keep = np.zeros(16, np.int8), keep.copy()
            keep[0] = 128
        if zeros:
            self.left.weights += 1
            self.left.blocks.add(BLOCK)
            self.left.left += min(zeros, max(0, weight.values.size - len(values)))
        return [self._constant(values, f"{weight.name}.4x4.values"), self._constant(keep, f"{weight.name}.4x4.keep")]

    def _rounding(self, op: Op, weight: Integers) -> list[str]:
        """The names of the bias in the sums' own unit, and of the scales of the sums."""
        import numpy as np

        unit = np.float32(op.xs[0].scale) * weight.scale
        bias = ""
        if weight.bias is not None:
            # In double precision and cut, for the unit of a row of zeros may be as small as can be.
            sums = np.rint(weight.bias.astype(np.float64) / unit)
            codes = np.clip(np.nan_to_num(sums), -(2**31), 2**31 - 1).astype(np.int32)
            bias = self._constant(codes, f"{op.y.codes}.{weight.name}.bias")
        scale = (unit / np.float32(op.y.scale)).astype(np.float32)
        return [bias, self._constant(scale, f"{op.y.codes}.{weight.name}.scale")]

    def _constant(self, values: Array, name: str) -> str:
        import numpy as np
        from onnx import numpy_helper

        if all(tensor.name != name for tensor in self.tensors):
            self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _packed(net: Net, x: Grid) -> Any:
    """What brings codes into fours, and where they are of floats rounds those at once."""
    from onnx import helper

    node = net.makers.get(x.codes)
    if node is None or node.op_type != "QuantizeLinear" or node.domain or grid(net, node, x.codes) is None:
        return helper.make_node("Pack4", [x.codes], [_fours(x.codes)], domain=DOMAIN)
    made = helper.make_node("Quantize4", [node.input[0]], [_fours(x.codes)], domain=DOMAIN, scale=x.scale, zero=x.zero)
    made.metadata_props.extend(node.metadata_props)
    return made


def _sum(op: Op, result: str) -> dict[str, Any]:
    """The numbers of a sum, whose result is called ``result``."""
    a, b = op.xs
    scales = {"a_scale": a.scale, "b_scale": b.scale, f"{result}_scale": op.y.scale}
    zeros = {"a_zero": a.zero, "b_zero": b.zero, f"{result}_zero": op.y.zero}
    return {**scales, **zeros, f"{result}_low": op.low, f"{result}_high": op.high}


def _fours(codes: str) -> str:
    """The name of codes in fours of channels."""
    return f"{codes}.fours"
