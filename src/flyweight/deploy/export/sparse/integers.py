"""Finding what the integer kernels can compute in a graph whose layers stand between QuantizeLinear and
DequantizeLinear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyweight.deploy.export.sparse.layer import Window
from flyweight.deploy.export.sparse.net import Net
from flyweight.measure.graph import attribute

if TYPE_CHECKING:
    from flyweight.deploy.export.sparse.net import Array

CONV, DEPTHWISE, POOL, MEAN, ADD = "QSparseConv", "QDepthwise", "QMaxPool", "QMean", "QAdd"
FLAT = "Flatten"
"""Images of one pixel as rows of a matrix: no operation of ours, for in fours they lie as they did."""


@dataclass(frozen=True)
class Grid:
    """Integers of one scale: the ``codes`` (a tensor of bytes) stand for scale · (codes - zero)."""

    codes: str
    scale: float
    zero: int


@dataclass(frozen=True, eq=False)
class Integers:
    """Integer weights ``(rows, inputs / groups, *kernel)``, ``scale`` ``(rows,)``, and a float ``bias`` or None;
    ``name`` is the file's."""

    values: Array
    scale: Array
    bias: Array | None
    name: str


@dataclass(frozen=True, eq=False)
class Op:
    """``nodes`` of the graph, the last of which rounds to ``y``, that one integer operation ``op`` can do.

    It reads the codes of ``xs``; results stay between ``low`` and ``high``. ``node`` is the one that computes, of which
    ``channels`` is the number of outputs. ``sum`` reads ``y``, and is computed with it (:mod:`.sums`).
    """

    op: str
    nodes: tuple[Any, ...]
    xs: tuple[Grid, ...]
    y: Grid
    low: int
    high: int
    node: Any
    channels: int
    window: Window | None = None
    weight: Integers | None = None
    sum: Op | None = None

    @property
    def result(self) -> Grid:
        """What it gives to others."""
        return self.y if self.sum is None else self.sum.y

    @property
    def reads(self) -> tuple[Grid, ...]:
        """The images that it reads: ``xs``, and what is added."""
        return self.xs if self.sum is None else (*self.xs, self.sum.xs[1 - self.place])

    @property
    def place(self) -> int:
        """Which of the two that are added ``y`` is."""
        return 0 if self.sum is None or self.sum.xs[0].codes == self.y.codes else 1


def operations(net: Net) -> list[Op]:
    """Every convolution, depthwise or of one group, max pool, mean over an image, sum of two images, and linear
    layer of images of one pixel that reads bytes and is rounded to bytes, in the order of the graph."""
    found = (_rounded(net, node) for node in net.nodes if node.op_type == "QuantizeLinear")
    return computable([op for op in found if op is not None])


def computable(ops: Sequence[Op]) -> list[Op]:
    """``ops`` without the linear layers of which no one of them says that they read images."""
    flat = {op.y.codes for op in ops if op.op == FLAT}
    return [op for op in ops if op.node.op_type != "Gemm" or op.xs[0].codes in flat]


def _rounded(net: Net, last: Any) -> Op | None:
    """What is rounded by the QuantizeLinear ``last``, with an activation between, if there is one."""
    y = grid(net, last, str(last.output[0]))
    if y is None:
        return None
    node = net.makers.get(last.input[0])
    if node is None or net.reader(last.input[0]) is None:
        return None
    nodes, low, high = [last], 0, 255
    if node.op_type in ("Relu", "Clip"):
        bounds = _bounds(net, node, y)
        inner = net.makers.get(node.input[0])
        if bounds is None or inner is None or net.reader(node.input[0]) is None:
            return None
        nodes, (low, high), node = [node, last], bounds, inner
    if node.domain or node.op_type not in _KINDS:
        return None
    return _KINDS[node.op_type](net, node, (node, *nodes), y, (low, high))


def grid(net: Net, node: Any, codes: str) -> Grid | None:
    """The grid of a QuantizeLinear or DequantizeLinear, where its scale is one and its codes are unsigned bytes."""
    scale = net.constant(node.input[1])
    zero = net.constant(node.input[2]) if len(node.input) > 2 else None
    if scale is None or zero is None or scale.ndim or zero.ndim or zero.dtype != "uint8" or scale.dtype != "float32":
        return None
    return Grid(codes, float(scale), int(zero)) if scale > 0 else None


def _bounds(net: Net, node: Any, y: Grid) -> tuple[int, int] | None:
    """The codes between which an activation keeps its results: rounding what was cut is cutting what was rounded."""
    import numpy as np

    lowest: float | None = 0.0
    highest: float | None = None
    if node.op_type == "Clip":
        lowest, highest = ((net.scalar(name) if name else None) for name in [*node.input[1:], "", ""][:2])
        if any(name and net.scalar(name) is None for name in node.input[1:]):
            return None

    def code(value: float | None, default: int) -> int:
        if value is None:
            return default
        return int(np.clip(np.rint(np.float32(value) / np.float32(y.scale)) + y.zero, 0, 255))

    low, high = code(lowest, 0), code(highest, 255)
    return (low, high) if low <= high else None


def _read(net: Net, name: str) -> Grid | None:
    """The grid of a tensor that a DequantizeLinear made of an image of bytes."""
    node = net.makers.get(name)
    if node is None or node.op_type != "DequantizeLinear" or node.input[0] in net.tensors:
        return None
    shape = net.shapes.get(name) or net.shapes.get(node.input[0])
    return None if shape is None or len(shape) != 4 else grid(net, node, str(node.input[0]))


def _window(node: Any, kernel: Sequence[int]) -> Window | None:
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"") or len(kernel) != 2:
        return None
    told = (tuple(attribute(node, name, default)) for name, default in _WINDOW)
    return Window(tuple(kernel), *told)


_WINDOW = (("strides", (1, 1)), ("dilations", (1, 1)), ("pads", (0, 0, 0, 0)))


def _conv(net: Net, node: Any, nodes: tuple[Any, ...], y: Grid, bounds: tuple[int, int]) -> Op | None:
    x, weight = _read(net, node.input[0]), _weight(net, node)
    if x is None or weight is None:
        return None
    rows, inputs, *kernel = weight.values.shape
    window = _window(node, kernel)
    groups = attribute(node, "group", 1)
    depthwise = groups == rows and inputs == 1 and groups > 1
    if window is None or (groups != 1 and not depthwise):
        return None
    return Op(DEPTHWISE if depthwise else CONV, nodes, (x,), y, *bounds, node, rows, window, weight)


def _mean(net: Net, node: Any, nodes: tuple[Any, ...], y: Grid, bounds: tuple[int, int]) -> Op | None:
    x, shape = _read(net, node.input[0]), net.shapes.get(node.input[0])
    if x is None or shape is None or not isinstance(shape[1], int) or bounds != (0, 255):
        return None
    return Op(MEAN, nodes, (x,), y, *bounds, node, shape[1])


def _flat(net: Net, node: Any, nodes: tuple[Any, ...], y: Grid, bounds: tuple[int, int]) -> Op | None:
    x, shape, made = _read(net, node.input[0]), net.shapes.get(node.input[0]), net.shapes.get(node.output[0])
    same = x is not None and (x.scale, x.zero) == (y.scale, y.zero) and bounds == (0, 255)
    if (
        x is None
        or not same
        or shape is None
        or shape[2:] != (1, 1)
        or made != shape[:2]
        or not isinstance(shape[1], int)
    ):
        return None
    return Op(FLAT, nodes, (x,), y, *bounds, node, shape[1])


def _linear(net: Net, node: Any, nodes: tuple[Any, ...], y: Grid, bounds: tuple[int, int]) -> Op | None:
    maker = net.makers.get(node.input[0])
    told = [attribute(node, name, default) for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0))]
    if maker is None or maker.op_type != "DequantizeLinear" or told != [1, 1, 0] or not attribute(node, "transB", 0):
        return None
    x, weight = grid(net, maker, str(maker.input[0])), _weight(net, node, 2)
    if x is None or weight is None:
        return None
    return Op(CONV, nodes, (x,), y, *bounds, node, len(weight.values), Window((1, 1)), weight)


def _weight(net: Net, node: Any, rank: int = 4) -> Integers | None:
    """``(rows, inputs)`` of a linear layer, whose ``rank`` is 2, as those of a 1x1 convolution."""
    import numpy as np

    stored = net.makers.get(node.input[1])
    if stored is None or stored.op_type != "DequantizeLinear":
        return None
    values, scale = net.constant(stored.input[0]), net.constant(stored.input[1])
    if values is None or scale is None or values.dtype != "int8" or values.ndim != rank or scale.dtype != "float32":
        return None
    zero = net.constant(stored.input[2]) if len(stored.input) > 2 else np.zeros((), np.int8)
    if zero is None or zero.any() or scale.ndim > 1 or (scale.ndim == 1 and attribute(stored, "axis", 1) != 0):
        return None
    bias = None
    if len(node.input) > 2 and node.input[2]:
        bias = net.constant(node.input[2])
        if bias is None or bias.dtype != "float32":
            return None
    values = values.reshape(*values.shape, *[1] * (4 - rank))
    return Integers(values, np.broadcast_to(scale, len(values)), bias, str(stored.input[0]))


def _pool(net: Net, node: Any, nodes: tuple[Any, ...], y: Grid, bounds: tuple[int, int]) -> Op | None:
    x = _read(net, node.input[0])
    window = _window(node, attribute(node, "kernel_shape", ()))
    # The largest of codes is the code of the largest where both are of one grid.
    same = x is not None and (x.scale, x.zero) == (y.scale, y.zero) and bounds == (0, 255)
    plain = not attribute(node, "ceil_mode", 0) and len([name for name in node.output if name]) == 1
    shape = net.shapes.get(node.input[0])
    if x is None or window is None or not same or not plain or shape is None or not isinstance(shape[1], int):
        return None
    return Op(POOL, nodes, (x,), y, *bounds, node, shape[1], window)


def _add(net: Net, node: Any, nodes: tuple[Any, ...], y: Grid, bounds: tuple[int, int]) -> Op | None:
    shapes = [net.shapes.get(name) for name in node.input]
    a, b = (_read(net, name) for name in node.input)
    if a is None or b is None or shapes[0] is None or shapes[0] != shapes[1] or not isinstance(shapes[0][1], int):
        return None
    return Op(ADD, nodes, (a, b), y, *bounds, node, shapes[0][1])


_KINDS = {
    "Conv": _conv,
    "MaxPool": _pool,
    "GlobalAveragePool": _mean,
    "Add": _add,
    "Reshape": _flat,
    "Flatten": _flat,
    "Gemm": _linear,
}
