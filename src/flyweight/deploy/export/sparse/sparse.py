"""Rewriting a float graph so that layers of many zeros run on the sparse kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from flyweight.core.errors import unknown_name
from flyweight.deploy.export.bitmap import Left
from flyweight.deploy.export.sparse.apply import apply
from flyweight.deploy.export.sparse.block import blocks
from flyweight.deploy.export.sparse.change import Change, fused, single
from flyweight.deploy.export.sparse.layer import DEPTHWISE, layers
from flyweight.deploy.export.sparse.net import Net

KERNELS = ("none", "auto", "all")
NEEDS = "flyweight's sparse kernels: options.register_custom_ops_library(flyweight.kernels_library())"
"""What opening a file with operations of ours takes, in ONNX Runtime's own words."""


@dataclass
class Told:
    """What :func:`sparse` did: ``left`` counts the zeros of the layers that it rewrote; ``notes`` are for people."""

    left: Left = field(default_factory=Left)
    notes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def check_kernels(kernels: str) -> None:
    """Raises :class:`UnknownNameError` where ``kernels`` is no way to choose them."""
    if kernels not in KERNELS:
        raise unknown_name("choice of kernels", kernels, KERNELS)


def sparse(proto: Any, example: Sequence[Tensor], kernels: str) -> Told:
    """Rewrites layers of ``proto``, which still has its recorded shapes, in place: all that can where ``kernels`` is
    ``"all"``."""
    if kernels == "none":
        return Told()
    net = Net(proto)
    chosen = everything(net)
    apply(proto, chosen)
    return Told(left=_counted(chosen), needs=(NEEDS,) if chosen else ())


def everything(net: Net) -> list[Change]:
    """Every layer that the kernels can compute, inverted residual blocks as one."""
    found = layers(net)
    whole = blocks(net, found)
    inside = {id(layer) for block in whole for layer in block.layers}
    return [*map(fused, whole), *(single(layer) for layer in found if id(layer) not in inside)]


def _counted(changes: Sequence[Change]) -> Left:
    """The weights of ``changes`` as :func:`~flyweight.deploy.export.bitmap.bitmap` counts them."""
    told = Left()
    for change in changes:
        for layer in change.layers:
            weight = layer.weight
            zeros = int((weight.values == 0).sum())
            told.elements += weight.values.size
            told.zeros += zeros
            if layer.op != DEPTHWISE and zeros:
                block, kept = change.stored[weight.name]
                told.weights += 1
                told.blocks.add(block)
                told.left += min(zeros, weight.values.size - kept)
    return told
