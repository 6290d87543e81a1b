"""The parts of a model that sparse kernels take over: single layers, and inverted residuals as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.deploy.faster import faster
from flyweight.layers.depthwise_conv import DepthwiseConv2d
from flyweight.layers.sparse_block import SparseBlock
from flyweight.layers.sparse_conv import SparseConv2d, kept
from flyweight.layers.sparse_linear import SparseLinear
from flyweight.surgery.walk import replace_

MOST = 0.5
"""A layer that is not timed runs sparse where at most this share of it is kept. About there single weights break
even with the fastest dense layers; tiles do before, and small layers never."""

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "Relu",
    nn.ReLU6: "Relu6",
    nn.Hardswish: "HardSwish",
    nn.GELU: "Gelu",
}


@dataclass(frozen=True)
class Piece:
    """A dense ``layer``, the ``activation`` that alone reads it, if any, and what does both on our kernels."""

    layer: nn.Module
    activation: nn.Module | None
    instead: nn.Module

    def dense(self, x: Tensor) -> Tensor:
        """The two as they were."""
        y: Tensor = self.layer(x)
        return y if self.activation is None else self.activation(y)


def fuse_layers_(
    model: nn.Module,
    named: Mapping[str, nn.Module],
    after: Mapping[str, str],
    inputs: Mapping[nn.Module, Tensor] | None,
) -> dict[str, Piece]:
    """Puts sparse layers, each with the activation after it, where they are faster; returns all there could be.

    ``named`` are the modules that may go, ``after`` tells which one alone reads another, ``inputs`` what each layer
    reads; None lets each go that is sparse enough.
    """
    pieces: dict[str, Piece] = {}
    chosen: dict[nn.Module, nn.Module] = {}
    for name, layer in named.items():
        follower = after.get(name, "")
        activation = named.get(follower)
        ends_in = "" if activation is None else _activation(activation)
        instead = _instead(layer, ends_in)
        if instead is None:
            continue
        piece = pieces[name] = Piece(layer, activation if ends_in else None, instead)
        if layer not in chosen:
            chosen[layer] = instead if _wins(piece, inputs) else layer
        if chosen[layer] is not layer:
            replace_(model, name, chosen[layer])
            if ends_in:
                replace_(model, follower, nn.Identity())
    return pieces


def fuse_blocks_(
    model: nn.Module, pieces: Mapping[str, Piece], after: Mapping[str, str], inputs: Mapping[nn.Module, Tensor]
) -> None:
    """Puts one fused block for each expand → depthwise → project, or depthwise → project, where that is faster."""

    def follower(name: str) -> str:
        piece = pieces[name]
        return after.get(after[name] if piece.activation is not None else name, "")

    before = {follower(name): name for name in pieces}
    for middle, piece in pieces.items():
        last = follower(middle)
        if not isinstance(piece.instead, DepthwiseConv2d) or last not in pieces:
            continue
        first = before.get(middle)
        best, runs = None, []
        for names in ([first, middle, last] if first is not None else [], [middle, last]):
            block = _block([pieces[name].instead for name in names])
            if block is not None:
                runs.append((names, block))
        for names, block in runs:
            now = nn.Sequential(*(model.get_submodule(one) for name in names for one in _names(name, pieces, after)))
            x = inputs.get(pieces[names[0]].layer)
            if x is not None and faster((now, block), x) == 1:
                best = names, block
                break
        if best is not None:
            names, block = best
            for name in names:
                for one in _names(name, pieces, after):
                    replace_(model, one, nn.Identity())
            replace_(model, names[0], block)


def _names(name: str, pieces: Mapping[str, Piece], after: Mapping[str, str]) -> list[str]:
    """The modules of a piece."""
    return [name, after[name]] if pieces[name].activation is not None else [name]


def _activation(module: nn.Module) -> str:
    if isinstance(module, nn.GELU) and module.approximate != "none":
        return ""
    return _ACTIVATIONS.get(type(module), "")


def _instead(layer: nn.Module, activation: str) -> nn.Module | None:
    """What computes as ``layer`` and the activation after it, on our kernels; None where there is nothing such."""
    for kind in (SparseConv2d, SparseLinear, DepthwiseConv2d):
        try:
            return kind.from_dense(layer, activation=activation)
        except UnsupportedError:
            continue
    return None


def _wins(piece: Piece, inputs: Mapping[nn.Module, Tensor] | None) -> bool:
    """Whether a layer of ours stands in for the dense one."""
    if inputs is None:
        return not isinstance(piece.instead, DepthwiseConv2d) and kept(piece.instead) <= MOST
    x = inputs.get(piece.layer)  # none where the example does not come by it
    return x is not None and faster((piece.dense, piece.instead), x) == 1


def _block(layers: list[nn.Module]) -> SparseBlock | None:
    if not layers:
        return None
    first, middle, last = (None, *layers) if len(layers) == 2 else layers
    if not (first is None or isinstance(first, SparseConv2d)) or not isinstance(last, SparseConv2d):
        return None
    if not isinstance(middle, DepthwiseConv2d):
        return None
    try:
        return SparseBlock(first, middle, last)
    except UnsupportedError:
        return None
