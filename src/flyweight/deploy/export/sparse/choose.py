"""Choosing the layers that run on the sparse kernels: those that proved faster so, here."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyweight.deploy.export.sparse.apply import apply
from flyweight.deploy.export.sparse.attention import attentions
from flyweight.deploy.export.sparse.block import blocks
from flyweight.deploy.export.sparse.change import Change, attention, fused, norm, single
from flyweight.deploy.export.sparse.layer import CONV, DEPTHWISE, Layer, layers
from flyweight.deploy.export.sparse.net import Net
from flyweight.deploy.export.sparse.norm import norms
from flyweight.deploy.export.sparse.piece import Piece, Sizes, sizes, write
from flyweight.deploy.export.sparse.race import Heat, race

WORTH = 1.05
"""How many times as fast a layer, and the model, has to be before dense gives way: less may be noise."""

FEWEST = 0.3
"""The share of zeros from which a layer is tried; the best of tiles break even at a half or so."""

_FEW = 4
"""Inputs up to which a dense convolution is tried too: the runtime's own need their images in another order."""

WHOLE_SECONDS = 0.15

MOST_TURNED = 32
"""Tokens up to which a transformer is tried with features before tokens. With more, threads that share them write side
by side, and take away from each other what their processors fetch ahead."""


@dataclass(frozen=True, eq=False)
class Option:
    """A part of the graph and the ``ways`` of computing it in operations of ours: first as one, perhaps as several
    one after another. It was tried for its ``zeros``, or for standing beside such parts."""

    name: str
    ways: tuple[tuple[Change, ...], ...]
    zeros: bool

    @property
    def nodes(self) -> tuple[Any, ...]:
        """The nodes that it stands for."""
        return tuple(node for change in self.ways[0] for node in change.nodes)


@dataclass
class Chosen:
    """The ``changes`` to make, with tokens ``turned`` or not; ``gain`` is the dense model's time over the one with
    them, ``ran`` and ``stayed`` name the parts with zeros that run on the kernels and those that do not, each with that
    ratio of its own, ``why`` is told where nothing could be timed."""

    changes: list[Change] = field(default_factory=list)
    turned: bool = False
    gain: float = 1.0
    ran: dict[str, float] = field(default_factory=dict)
    stayed: dict[str, float | None] = field(default_factory=dict)
    why: str = ""


def everything(net: Net) -> list[Change]:
    """Every layer that the kernels can compute, inverted residual blocks as one; what is between linear ones."""
    found = layers(net)
    whole = blocks(net, found)
    inside = {id(layer) for block in whole for layer in block.layers}
    alone = (single(layer) for layer in found if id(layer) not in inside)
    return [*map(fused, whole), *alone, *_between(net)]


def _between(net: Net) -> list[Change]:
    return [*map(attention, attentions(net)), *map(norm, norms(net))]


def gains(net: Net) -> bool:
    """Whether a layer has so many zeros that it may gain from the kernels."""
    return any(map(_sparse, layers(net)))


def choose(proto: Any, net: Net, example: Sequence[Any]) -> Chosen:
    """Times each part of ``net``, read from ``proto``, that has many zeros both ways, on the first of ``example``
    (arrays), keeps the faster, and compares the model so made, the dense one, and the one with all of them."""
    options = _options(net)
    arrays = [array[:1] for array in example]
    at = sizes(proto, [array.shape for array in arrays])
    timed = [option for option in options if _known(option, at)]
    chosen = Chosen(stayed={option.name: None for option in options if option not in timed and option.zeros})
    times = race([_heat(proto, net, option, at) for option in timed])
    best: list[Change] = []
    every: list[Change] = []
    for option, (dense, *ours) in zip(timed, times, strict=True):
        fastest = min(range(len(ours)), key=lambda way: ours[way])
        ratio = dense / ours[fastest]
        every += option.ways[fastest]
        if ratio >= WORTH:
            best += option.ways[fastest]
        if option.zeros:
            told: Any = chosen.ran if ratio >= WORTH else chosen.stayed
            told[option.name] = ratio
    ways = [(way, False) for way in ([best, every] if len(every) > len(best) else [best]) if way]
    ways += [(way, True) for way, _ in ways[-1:] if _short(way, at)]
    plain, *whole = _whole(proto, net, ways, arrays)
    if not whole:
        return chosen
    fastest = min(range(len(whole)), key=lambda way: whole[way] * (WORTH if way else 1.0))
    chosen.gain = plain / whole[fastest]
    if chosen.gain < WORTH:
        chosen.stayed |= chosen.ran
        chosen.ran = {}
        return chosen
    chosen.changes, chosen.turned = ways[fastest]
    if chosen.changes is every:
        chosen.ran |= {name: ratio for name, ratio in chosen.stayed.items() if ratio is not None}
        chosen.stayed = {name: ratio for name, ratio in chosen.stayed.items() if ratio is None}
    return chosen


def _options(net: Net) -> list[Option]:
    """The parts with many zeros; and where there are some, the layers beside them that gain from staying in one order,
    depthwise convolutions, and those of few inputs; and what stands between linear layers."""
    found = layers(net)
    whole = [block for block in blocks(net, found) if any(map(_sparse, block.layers))]
    inside = {id(layer) for block in whole for layer in block.layers}
    options = [
        Option(_named(net, block.layers), ((fused(block),), tuple(map(single, block.layers))), True) for block in whole
    ]
    alone = [layer for layer in found if id(layer) not in inside and (_sparse(layer) or _beside(layer))]
    options += [Option(_named(net, (layer,)), ((single(layer),),), _sparse(layer)) for layer in alone]
    return [*options, *(Option(net.path(change.nodes[-1]), ((change,),), False) for change in _between(net))]


def _sparse(layer: Layer) -> bool:
    return layer.op != DEPTHWISE and layer.weight.zeros >= FEWEST


def _beside(layer: Layer) -> bool:
    return layer.op == DEPTHWISE or (layer.op == CONV and layer.weight.values.shape[1] <= _FEW)


def _named(net: Net, found: Sequence[Layer]) -> str:
    """The module of a layer, or the innermost around several."""
    paths = [net.path(layer.nodes[0]).split(".") for layer in found]
    shared = paths[0]
    for path in paths[1:]:
        shared = [a for a, b in zip(shared, path, strict=False) if a == b]
    return ".".join(shared) or ".".join(paths[0])


def _known(option: Option, at: Sizes) -> bool:
    return all(name in at for way in option.ways for change in way for name in change.inputs)


def _heat(proto: Any, net: Net, option: Option, at: Sizes) -> Heat:
    inputs = option.ways[0][0].inputs
    output = option.nodes[-1].output[0]
    pieces = [Piece(option.nodes, inputs, output)]
    for way in option.ways:
        tensors = tuple(tensor for change in way for tensor in change.tensors)
        pieces.append(Piece(tuple(change.made for change in way), inputs, output, tensors))

    def written(folder: Path) -> list[Path]:
        return [write(proto, net, piece, at, folder / f"{i}.onnx") for i, piece in enumerate(pieces)]

    forms = tuple(change.form for way in option.ways for change in way)
    return Heat((forms, tuple(at[name] for name in inputs)), written)


def _short(changes: Sequence[Change], at: Sizes) -> bool:
    """Whether attention is among ``changes``, and each over few tokens."""
    tokens = [at[change.inputs[0]][1] for change in changes if change.made.op_type == "Attention"]
    return bool(tokens) and max(tokens) <= MOST_TURNED


def _whole(
    proto: Any, net: Net, ways: Sequence[tuple[Sequence[Change], bool]], arrays: Sequence[Any]
) -> tuple[float, ...]:
    """Milliseconds of the dense model, and of the model with each of ``ways``: changes, and whether tokens turn."""
    if not ways:
        return (1.0,)

    def written(folder: Path) -> list[Path]:
        paths = [folder / f"{i}.onnx" for i in range(len(ways) + 1)]
        paths[0].write_bytes(proto.SerializeToString())
        for path, (way, turn) in zip(paths[1:], ways, strict=True):
            graph = copy.deepcopy(proto)
            apply(graph, net, way, turn)
            path.write_bytes(graph.SerializeToString())
        return paths

    (times,) = race([Heat(object(), written)], arrays, WHOLE_SECONDS)
    return times
