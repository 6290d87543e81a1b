"""Finding the layers of an exported graph that the sparse kernels can compute, with what follows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyweight.deploy.export.sparse.gelu import gelu
from flyweight.deploy.export.sparse.net import Net
from flyweight.measure.graph import attribute

if TYPE_CHECKING:
    from flyweight.deploy.export.sparse.net import Array

CONV, LINEAR, DEPTHWISE = "SparseConv", "SparseLinear", "Depthwise"


@dataclass(frozen=True)
class Window:
    """A convolution's ``kernel``, ``strides``, ``dilations``, and ``pads`` as top, left, bottom, right."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)

    @property
    def point(self) -> bool:
        """Whether each output is made of one place of the input, its own."""
        return self == Window((1, 1))


@dataclass(frozen=True, eq=False)
class Weight:
    """Values ``(rows, inputs, *kernel)`` as torch has them, a ``bias`` ``(rows,)`` or None; ``name`` is the file's."""

    values: Array
    bias: Array | None
    name: str
    window: Window | None = None

    @property
    def zeros(self) -> float:
        """The share of its values that are zero."""
        return 1 - float((self.values != 0).sum()) / max(1, self.values.size)


@dataclass(frozen=True, eq=False)
class Layer:
    """y = activation(weight · x + bias + residual): ``nodes`` of the graph, in their order, that one operation can do.

    ``op`` is that operation; a ``residual`` is a tensor of the shape of the output, or "".
    """

    op: str
    nodes: tuple[Any, ...]
    x: str
    weight: Weight
    activation: str = ""
    residual: str = ""

    @property
    def output(self) -> str:
        """The name of what the last node gives."""
        return str(self.nodes[-1].output[0])


def layers(net: Net) -> list[Layer]:
    """Every convolution and linear layer that the kernels can compute, in the order of the graph.

    What follows one (bias, activation, the addition of a residual) belongs to it where nobody else reads what lies
    between. Weights and biases have to be constant; convolutions in groups, other than depthwise, are not among them.
    """
    found: list[Layer] = []
    taken: set[int] = set()
    # From the end: of two layers whose outputs are added, the later one adds.
    for node in reversed(net.nodes):
        started = _start(net, node)
        if started is not None:
            found.append(_followed(net, started, taken))
            taken.update(map(id, found[-1].nodes))
    return found[::-1]


def _start(net: Net, node: Any) -> Layer | None:
    if node.domain or node.op_type not in _STARTS or node.input[0] in net.tensors:
        return None
    return _STARTS[node.op_type](net, node)


def _conv(net: Net, node: Any) -> Layer | None:
    weight, bias = net.constant(node.input[1]), _bias(net, node)
    if weight is None or weight.ndim != 4 or weight.dtype != "float32" or bias is _DYNAMIC:
        return None
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        return None
    window = Window(
        tuple(weight.shape[2:]),
        tuple(attribute(node, "strides", (1, 1))),
        tuple(attribute(node, "dilations", (1, 1))),
        tuple(attribute(node, "pads", (0, 0, 0, 0))),
    )
    groups = attribute(node, "group", 1)
    depthwise = groups == weight.shape[0] and weight.shape[1] == 1 and groups > 1
    if groups != 1 and not depthwise:
        return None
    told = Weight(weight, bias, node.input[1], window)
    return Layer(DEPTHWISE if depthwise else CONV, (node,), node.input[0], told)


def _gemm(net: Net, node: Any) -> Layer | None:
    weight, bias = net.constant(node.input[1]), _bias(net, node)
    plain = (
        attribute(node, "alpha", 1.0) == 1 and attribute(node, "beta", 1.0) == 1 and not attribute(node, "transA", 0)
    )
    if weight is None or weight.dtype != "float32" or bias is _DYNAMIC or not plain:
        return None
    values = weight if attribute(node, "transB", 0) else weight.T
    if bias is not None:
        if bias.size != len(values):
            return None
        bias = bias.reshape(-1)
    return Layer(LINEAR, (node,), node.input[0], Weight(values, bias, node.input[1]))


def _matmul(net: Net, node: Any) -> Layer | None:
    weight = net.constant(node.input[1])
    if weight is None or weight.ndim != 2 or weight.dtype != "float32" or not _rank(net, node.input[0]):
        return None
    nodes: tuple[Any, ...] = (node,)
    bias = None
    add = net.reader(node.output[0])
    if add is not None and add.op_type == "Add":
        added = net.constant(net.other(add, node.output[0]))
        if added is not None and added.ndim <= 3 and added.shape[-1:] == (added.size,) == weight.shape[1:]:
            nodes, bias = (node, add), added.reshape(-1)
    return Layer(LINEAR, nodes, node.input[0], Weight(weight.T, bias, node.input[1]))


_STARTS = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
_DYNAMIC: Any = object()


def _bias(net: Net, node: Any) -> Any:
    """The constant bias of a node, None where it has none, and a mark of its own where it is no constant."""
    if len(node.input) < 3 or not node.input[2]:
        return None
    value = net.constant(node.input[2])
    return _DYNAMIC if value is None else value


def _rank(net: Net, name: str) -> bool:
    """Whether a tensor is known to have two dimensions or more."""
    shape = net.shapes.get(name)
    return shape is not None and len(shape) >= 2


def _followed(net: Net, layer: Layer, taken: set[int]) -> Layer:
    """``layer`` with what follows it."""
    nodes, residual = list(layer.nodes), ""
    add = net.reader(layer.output)
    if layer.op != DEPTHWISE and add is not None and add.op_type == "Add" and id(add) not in taken:
        other = net.other(add, layer.output)
        shapes = [net.shapes.get(name) for name in (other, layer.output)]
        if shapes[0] is not None and shapes[0] == shapes[1] and other not in net.tensors:
            nodes.append(add)
            residual = other
    name, more = _activation(net, str(nodes[-1].output[0]))
    if any(id(node) in taken for node in more):
        name, more = "", ()
    return Layer(layer.op, (*nodes, *more), layer.x, layer.weight, name, residual)


def _activation(net: Net, tensor: str) -> tuple[str, tuple[Any, ...]]:
    """The activation of ``tensor`` that alone reads it, by the kernels' name, and its nodes."""
    node = net.reader(tensor)
    if node is None:
        found = gelu(net, tensor)
        return ("Gelu", found) if found else ("", ())
    if node.op_type in ("Relu", "HardSwish"):
        return str(node.op_type), (node,)
    if node.op_type == "Gelu" and attribute(node, "approximate", b"none") == b"none":
        return "Gelu", (node,)
    if node.op_type == "Clip" and [net.scalar(name) for name in node.input[1:]] == [0.0, 6.0]:
        return "Relu6", (node,)
    return "", ()
