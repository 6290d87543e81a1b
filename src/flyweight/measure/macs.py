"""How many multiplications, each with its addition, one example takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flyweight.measure.graph import Graph, attribute
from flyweight.measure.own_macs import products
from flyweight.measure.own_ops import Skipping, own
from flyweight.measure.stored import nonzero, stored

_FREE = frozenset(
    (
        *("Cast", "CastLike", "Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand"),
        *("EyeLike", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "NonZero", "OneHot", "Pad"),
        *("Range", "Reshape", "ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Shape", "Size", "Slice"),
        *(
            "Pack4",
            "Quantize4",
            "Unpack4",
            "SpaceToDepth",
            "Split",
            "SplitToSequence",
            "Squeeze",
            "Tile",
            "Transpose",
            "Trilu",
            "Unsqueeze",
            "Where",
        ),
        *("And", "Or", "Not", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "IsNaN", "IsInf"),
    )
)
"""Operations that move, choose or compare, and compute nothing."""

Shape = tuple[int, ...]
Rule = Callable[[Any, Sequence[Shape], Shape], int]


@dataclass(frozen=True)
class Macs:
    """``count`` multiply-accumulates an example, None where a shape is unknown (``why`` says of what).

    ``dense`` are those of the same layers without tiles left out; it is more than ``count`` where layers run on the
    sparse kernels. ``nonzero`` are those by a weight that is not zero, as many as are left for kernels that skip zeros
    (estimated from the weights: no runtime was asked). Both are None where ``count`` is, and ``nonzero`` where weights
    lie outside the file. ``uncounted`` are the
    types of operation that compute and are not in it, most frequent first.
    """

    count: int | None
    uncounted: tuple[str, ...]
    why: str = ""
    nonzero: int | None = None
    dense: int | None = None


def macs(graph: Graph) -> Macs:
    """The multiply-accumulates of one example: of convolutions, transposed ones, and matrix products.

    Convolution: output elements × kernel elements × input channels / groups; transposed: input elements × kernel
    elements × output channels / groups; matrix product: rows × columns × inner size × batch of matrices. Integer forms,
    and operations between QuantizeLinear and DequantizeLinear, count like their float twins. Biases are not counted.
    Zeros among the weights count: runtimes multiply them as any other number, however the file stores them; but of a
    layer on the sparse kernels only what lies in tiles that are kept, for that is what they multiply. What is
    computed from constants alone, when the file is opened, does not count.
    FLOPs, as ``torch.utils.flop_counter`` has them, are twice this.
    """
    total, dense, live = 0.0, 0, 0.0
    shares = _Shares(graph)
    uncounted: Counter[str] = Counter()
    for node in graph.live:
        if own(node):
            parts = products(node, graph)
            if parts is None:
                return Macs(None, _named(uncounted), f"a shape at {node.op_type} {node.name!r} is unknown")
            uncounted[node.op_type] += not parts and node.op_type not in _FREE
            dense += sum(part.count for part in parts)
            total += sum(part.computed(graph) for part in parts)
            live += sum(part.count * shares.kept(part.kept) for part in parts)
            continue
        if node.op_type not in _RULES:
            uncounted[node.op_type] += node.op_type not in _FREE
            continue
        places, rule = _RULES[node.op_type]
        names = [*(node.input[p] for p in places), node.output[0]]
        unknown = [n for n in names if n not in graph.shapes]
        if unknown:
            why = f"the shape of {unknown[0]!r}, at {node.op_type} {node.name!r}, is unknown"
            return Macs(None, _named(uncounted), why)
        *shapes, output = (graph.shapes[n] for n in names)
        count = rule(node, shapes, output)
        total += count
        dense += count
        live += count * shares.of(node, places)
    nonzero = None if math.isnan(live) else round(live / graph.batch)
    count, whole = round(total / graph.batch), dense // graph.batch
    return Macs(count, _named(uncounted), nonzero=nonzero, dense=whole)


class _Shares:
    """The share of nonzero weights among the operands of nodes, each weight read once; NaN where it is not in the
    file."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, float] = {}

    def of(self, node: Any, operands: Sequence[int]) -> float:
        """The share of the node's products in which no stored operand is zero."""
        return math.prod(self._share(node.input[place]) for place in operands)

    def kept(self, weight: Skipping | None) -> float:
        """The share of nonzero numbers of a weight of ours; 1 of none."""
        if weight is None:
            return 1.0
        count = nonzero(self._graph, weight.values)
        return math.nan if count is None else min(1.0, count / max(1, weight.elements))

    def _share(self, name: str) -> float:
        if name not in self._known:
            form = stored(self._graph, name)
            count = None if form is None else nonzero(self._graph, form.name)
            if form is None:
                self._known[name] = 1.0
            else:
                self._known[name] = math.nan if count is None else min(1.0, count / max(1, form.elements))
        return self._known[name]


def _named(uncounted: Counter[str]) -> tuple[str, ...]:
    return tuple(op for op, count in uncounted.most_common() if count)


def _conv(node: Any, shapes: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * math.prod(shapes[1][1:])  # the weight is (out, in / groups, *kernel)


def _conv_transpose(node: Any, shapes: Sequence[Shape], output: Shape) -> int:
    return math.prod(shapes[0]) * math.prod(shapes[1][1:])  # the weight is (in, out / groups, *kernel)


def _gemm(node: Any, shapes: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * shapes[0][0 if attribute(node, "transA", 0) else 1]


def _matmul(node: Any, shapes: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * shapes[0][-1]


def _matmul_bits(node: Any, shapes: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * int(attribute(node, "K"))


_RULES: dict[str, tuple[tuple[int, ...], Rule]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv"), ((0, 1), _conv)),
    "QLinearConv": ((0, 3), _conv),
    "ConvTranspose": ((0, 1), _conv_transpose),
    **dict.fromkeys(("Gemm", "FusedGemm"), ((0, 1), _gemm)),
    **dict.fromkeys(("MatMul", "MatMulInteger", "FusedMatMul"), ((0, 1), _matmul)),
    "QLinearMatMul": ((0, 3), _matmul),
    "MatMulNBits": ((0,), _matmul_bits),
}
"""The type of operation, which of its inputs are the operands, and how their shapes give the count."""
