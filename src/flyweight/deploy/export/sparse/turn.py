"""Transformers with features before tokens: images of one row, on which linear layers are 1×1 convolutions.

Tokens then lie along the vectors' lanes all the way, so that nothing is transposed between two layers, and threads
share few tokens by features. A layer computes what it did, its sums in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyweight.deploy.export.sparse.layer import CONV, LINEAR
from flyweight.deploy.export.sparse.net import Net
from flyweight.kernels.library import DOMAIN

_READS = {LINEAR: (0, 4), "Attention": (0, 1, 2), "LayerNorm": (0,)}
"""Of each kind the inputs that are tokens: of a linear layer x and the residual, of an attention q, k and v."""


def turned(nodes: Sequence[Any], net: Net, outputs: set[str]) -> list[Any]:
    """``nodes`` with those of ours on ``(batch, tokens, features)`` turned; where other nodes read or give such a
    tensor, it is turned there. ``nodes`` themselves where there are none; ``net`` tells shapes, ``outputs`` are the
    graph's."""
    inside = [node for node in nodes if _turns(node, net)]
    if not any(node.op_type == "Attention" for node in inside):
        return list(nodes)
    given = {str(node.output[0]) for node in inside}
    places = {id(node) for node in inside}
    read = {str(name) for node in nodes if id(node) not in places for name in node.input} | outputs
    read |= {str(node.input[3]) for node in inside if node.op_type == "Attention" and len(node.input) > 3}
    written: list[Any] = []
    entered: set[str] = set()
    for node in nodes:
        if id(node) not in places:
            written.append(node)
            continue
        for name in dict.fromkeys(_tokens(node)):
            if name not in given and name not in entered:
                entered.add(name)
                written += _enter(name)
        written.append(_image(node))
        name = str(node.output[0])
        if name in read:
            written += _leave(name)
    return written


def _turns(node: Any, net: Net) -> bool:
    """Whether all that ``node`` reads of tokens, and what it gives, has three axes and is computed."""
    if node.domain != DOMAIN or node.op_type not in _READS:
        return False
    if node.op_type == "Attention" and not (len(node.input) > 2 and node.input[1] and node.input[2]):
        return False
    shapes = [net.shapes.get(name) for name in (*_tokens(node), str(node.output[0]))]
    return all(shape is not None and len(shape) == 3 for shape in shapes) and not any(
        name in net.tensors for name in _tokens(node)
    )


def _tokens(node: Any) -> list[str]:
    return [str(node.input[place]) for place in _READS[node.op_type] if place < len(node.input) and node.input[place]]


def _image(node: Any) -> Any:
    from onnx import helper

    made = type(node).FromString(node.SerializeToString())
    tokens = set(_tokens(node))
    for place, name in enumerate(node.input):
        if name in tokens:
            made.input[place] = _turned(name)
    made.output[0] = _turned(node.output[0])
    if node.op_type == LINEAR:
        made.op_type = CONV
        made.attribute.append(helper.make_attribute("kernel_shape", [1, 1]))
    elif node.op_type == "LayerNorm":
        made.attribute.append(helper.make_attribute("channels", 1))
    return made


def _turned(name: str) -> str:
    return f"{name} turned"


def _axis(name: str) -> Any:
    from onnx import TensorProto, helper

    return helper.make_node("Constant", [], [name], value=helper.make_tensor("", TensorProto.INT64, [1], [2]))


def _enter(name: str) -> list[Any]:
    """(batch, tokens, features) to (batch, features, 1, tokens)."""
    from onnx import helper

    crossed, axis = f"{name} crossed", f"{name} row"
    return [
        helper.make_node("Transpose", [name], [crossed], perm=[0, 2, 1]),
        _axis(axis),
        helper.make_node("Unsqueeze", [crossed, axis], [_turned(name)]),
    ]


def _leave(name: str) -> list[Any]:
    """And back."""
    from onnx import helper

    crossed, axis = f"{name} crossed back", f"{name} row back"
    return [
        _axis(axis),
        helper.make_node("Squeeze", [_turned(name), axis], [crossed]),
        helper.make_node("Transpose", [crossed], [name], perm=[0, 2, 1]),
    ]
