"""Rewriting a graph so that layers of many zeros run on the sparse kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from flyweight.core.errors import FlyweightError, unknown_name
from flyweight.deploy.export.bitmap import Left
from flyweight.deploy.export.sparse.apply import apply
from flyweight.deploy.export.sparse.change import Change
from flyweight.deploy.export.sparse.choose import FEWEST, Chosen, choose, everything, gains
from flyweight.deploy.export.sparse.choose_integers import choose_integers, integers_gain
from flyweight.deploy.export.sparse.dense_linears import dense_linears
from flyweight.deploy.export.sparse.fours import in_fours
from flyweight.deploy.export.sparse.integers import Op, operations
from flyweight.deploy.export.sparse.layer import DEPTHWISE
from flyweight.deploy.export.sparse.net import Net
from flyweight.kernels.library import why_not

KERNELS = ("none", "auto", "all")
NEEDS = "flyweight's sparse kernels: options.register_custom_ops_library(flyweight.kernels_library())"
"""What opening a file with operations of ours takes, in ONNX Runtime's own words."""

_NAMED = 8


@dataclass
class Told:
    """What :func:`sparse` did: ``left`` counts the zeros of the layers that it rewrote; ``notes`` are for people, and
    ``needs`` says what the file needs to be opened."""

    left: Left = field(default_factory=Left)
    notes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def check_kernels(kernels: str) -> None:
    """Raises :class:`UnknownNameError` where ``kernels`` is no way to choose them."""
    if kernels not in KERNELS:
        raise unknown_name("choice of kernels", kernels, KERNELS)


def sparse(proto: Any, example: Sequence[Tensor], kernels: str) -> Told:
    """Rewrites layers of ``proto``, which still has its recorded shapes, in place, as operations of ours.

    With ``"all"`` every layer that can, whatever its zeros. With ``"auto"``, where the library is here, those of many
    zeros that proved faster: each is cut out and timed both ways on one example, an inverted residual block as one
    operation and as three, and at the end the whole model both ways; 5 % faster is the least that counts. Depthwise
    convolutions and those of few inputs beside them are tried too, for a graph that stays in one order of its images.
    Of layers between integers all go together, with what stands among them, or none.
    """
    if kernels == "none":
        return Told()
    net = Net(proto)
    integers = operations(net)
    dense = dense_linears(net, FEWEST, integers)
    told = _integers(proto, net, integers, example, kernels) if integers else _floats(proto, net, example, kernels)
    if kernels == "all" or why_not() is None:  # or all is dense, for another reason
        told.notes += dense
    return told


def _floats(proto: Any, net: Net, example: Sequence[Tensor], kernels: str) -> Told:
    """:func:`sparse` of a graph of floats."""
    if kernels == "all":
        changes = everything(net)
        told = Told(left=_counted(changes), needs=(NEEDS,) if changes else ())
        apply(proto, net, changes)
        return told
    if not gains(net):
        return Told()
    reason = why_not()
    if reason is not None:
        return Told(notes=(f"layers of zeros run dense: the sparse kernels are not used here ({reason})",))
    try:
        chosen = choose(proto, net, [tensor.numpy() for tensor in example])
    except FlyweightError as error:
        return Told(notes=(f"layers of zeros run dense: {error}",))
    told = Told(_counted(chosen.changes), _notes(chosen), (NEEDS,) if chosen.changes else ())
    apply(proto, net, chosen.changes, chosen.turned)
    return told


def _integers(proto: Any, net: Net, found: Sequence[Op], example: Sequence[Tensor], kernels: str) -> Told:
    """:func:`sparse` of a graph of integers."""
    if kernels == "all":
        return Told(left=in_fours(proto, net, found), needs=(NEEDS,))
    if not integers_gain(found):
        return Told()
    reason = why_not()
    if reason is not None:
        return Told(notes=(f"layers of zeros run dense: the sparse kernels are not used here ({reason})",))
    try:
        chosen = choose_integers(proto, net, found, [tensor.numpy() for tensor in example])
    except FlyweightError as error:
        return Told(notes=(f"layers of zeros run dense: {error}",))
    if not chosen.ops:
        return Told(notes=(chosen.note,) if chosen.note else ())
    return Told(in_fours(proto, net, chosen.ops), (chosen.note,), (NEEDS,))


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


def _notes(chosen: Chosen) -> tuple[str, ...]:
    notes = []
    if chosen.changes:
        gain = f"the whole model {chosen.gain:.2f}× as fast as dense in ONNX Runtime here, one thread, one example"
        notes.append(f"on the sparse kernels, with their speed over dense: {_listed(chosen.ran)}; {gain}")
    slower = {name: ratio for name, ratio in chosen.stayed.items() if ratio is not None}
    if slower and not chosen.changes and chosen.gain != 1:
        notes.append(f"dense, since with the sparse kernels the whole model ran {chosen.gain:.2f}× as fast here")
    elif slower:
        notes.append(f"dense, for the sparse kernels brought less than 5 % here: {_listed(slower)}")
    unknown = [name for name, ratio in chosen.stayed.items() if ratio is None]
    if unknown:
        notes.append(f"dense, for their sizes could not be told: {', '.join(unknown[:_NAMED])}")
    return tuple(notes)


def _listed(ratios: Mapping[str, float]) -> str:
    """The names with their ratios, the first few of them."""
    told = [f"{name or 'the model'} {ratio:.2f}×" for name, ratio in ratios.items()]
    return ", ".join(told[:_NAMED]) + (f" and {len(told) - _NAMED} more" if len(told) > _NAMED else "")
