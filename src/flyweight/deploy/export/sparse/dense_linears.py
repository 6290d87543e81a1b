"""Linear layers of integers and many zeros: the integer kernels compute images, so of all but those that read images of
one pixel a runtime multiplies the zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyweight.deploy.export.sparse.integers import Op
from flyweight.deploy.export.sparse.net import Net

_NAMED = 4


def dense_linears(net: Net, fewest: float, ops: Sequence[Op]) -> tuple[str, ...]:
    """A note that names the linear layers whose integer weights are zeros by the share ``fewest`` or more, if any, but
    for those that ``ops`` compute."""
    ours = {id(op.node) for op in ops}
    found = [net.path(node) for node in net.nodes if id(node) not in ours and _zeros(net, node) >= fewest]
    if not found:
        return ()
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (f"dense, for linear layers of integers have no sparse kernel: {', '.join(found[:_NAMED])}{more}",)


def _zeros(net: Net, node: Any) -> float:
    """The share of zeros among the integer weights of a linear layer; 0 of what is none."""
    if node.domain or node.op_type not in ("Gemm", "MatMul"):
        return 0.0
    maker = net.makers.get(node.input[1])
    if maker is not None and maker.op_type == "Transpose":
        maker = net.makers.get(maker.input[0])
    if maker is None or maker.op_type != "DequantizeLinear":
        return 0.0
    codes = net.constant(maker.input[0])
    if codes is None or codes.dtype.kind not in "iu" or not codes.size:
        return 0.0
    zero = net.constant(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else None
    if zero is not None and zero.any():  # of a point of zero elsewhere, codes of 0 are none
        return 0.0
    return float((codes == 0).mean())
