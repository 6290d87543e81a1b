"""How many multiplications, each with its addition, one example takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flyweight.measure.graph import Graph, attribute

_FREE = frozenset(
    (
        *("Cast", "CastLike", "Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand"),
        *("EyeLike", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "NonZero", "OneHot", "Pad"),
        *("Range", "Reshape", "ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Shape", "Size", "Slice"),
        *("SpaceToDepth", "Split", "SplitToSequence", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
        *("And", "Or", "Not", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "IsNaN", "IsInf"),
    )
)
"""Operations that move, choose or compare, and compute nothing."""

Shape = tuple[int, ...]
Rule = Callable[[Any, Sequence[Shape], Shape], int]


@dataclass(frozen=True)
class Macs:
    """``count`` multiply-accumulates an example, None where a shape is unknown (``why`` says of what).

    ``uncounted`` are the types of operation that compute and are not in it, most frequent first.
    """

    count: int | None
    uncounted: tuple[str, ...]
    why: str = ""


def macs(graph: Graph) -> Macs:
    """The multiply-accumulates of one example: of convolutions, transposed ones, and matrix products.

    Convolution: output elements × kernel elements × input channels / groups; transposed: input elements × kernel
    elements × output channels / groups; matrix product: rows × columns × inner size × batch of matrices. Integer forms,
    and operations between QuantizeLinear and DequantizeLinear, count like their float twins. Biases are not counted.
    FLOPs, as ``torch.utils.flop_counter`` has them, are twice this.
    """
    total = 0
    uncounted: Counter[str] = Counter()
    for node in graph.nodes:
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
        total += rule(node, shapes, output)
    return Macs(total // graph.batch, _named(uncounted))


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
