"""The pool of a coupled group: channels, neurons or heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from flyweight.core.errors import ShapeError, UnsupportedError
from flyweight.core.task import Task
from flyweight.surgery.chain import foreign
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.coupling import Coupling, Group, Slice
from flyweight.surgery.mask import Mask, mask_of
from flyweight.surgery.walk import matching, within

_GIVEN = ("makes the model's output", "normalises over it", "joins it with what has to stay")
"""Reasons that lie in what a model is, not in how it is written."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A slice of a group with the parameter that it stands in, and that one's mask."""

    slice: Slice
    module: nn.Module
    parameter: str
    mask: Mask

    @property
    def target(self) -> tuple[nn.Module, str, str]:
        """(module, parameter's name, dotted name)."""
        return self.module, self.parameter, self.slice.name

    def units(self, values: Tensor) -> Tensor:
        """The sum of ``values``, in the parameter's shape, over what each unit owns."""
        rows = values.movedim(self.slice.dim, 0).flatten(1).sum(1) if values.dim() > 1 else values
        return rows[self.slice.indices.to(values.device)].sum(1)


@dataclass(frozen=True, eq=False)
class Coupled:
    """The units of ``group``, masked wherever they stand: rows of the weights and biases that make them, scales and
    shifts of batch-norm, columns of the weights that read them. So the masked model computes what it will compute
    without them. A unit counts as kept while anything reads it.

    Its saliency is the sum over its rows in all layers that make it. Where these are several, each counts alike: as
    Σ_p s_p/mean(s_p) · mean over p of mean(s_p).
    """

    group: Group
    pieces: tuple[Piece, ...]
    round_to: int = 1

    @property
    def name(self) -> str:
        """The first layer that makes the units."""
        return self.group.label

    @property
    def units(self) -> str:
        """What they are: channels or heads."""
        return f"{self.group.kind}s"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its weight."""
        made = [piece for piece in self.pieces if piece.slice.role == "output"]
        return tuple((made or self.pieces)[0].mask.keep.shape)

    @property
    def parameters(self) -> Tensor:
        """How many elements of how many parameters each unit owns."""
        return torch.stack(
            [piece.units(torch.ones_like(piece.mask.keep, dtype=torch.float32)) for piece in self.pieces]
        ).sum(0)

    @property
    def kept(self) -> Tensor:
        """Which units something reads."""
        readers = [piece for piece in self.pieces if piece.slice.role == "input"]
        return torch.stack([piece.units(piece.mask.keep.float()) > 0 for piece in readers or self.pieces]).any(0)

    @property
    def gates(self) -> Sequence[nn.Module]:
        """The masks."""
        return list(dict.fromkeys(piece.mask for piece in self.pieces))

    def reads(self, kind: str) -> Sequence[tuple[nn.Module, str, str]]:
        """The weights that make the units, or the scales of the batch-norms on them."""
        return list(dict.fromkeys(piece.target for piece in self._read(kind)))

    def saliency(self, scores: Mapping[str, Tensor]) -> Tensor:
        """The units' saliency."""
        layers: dict[str, Tensor] = {}
        for piece in self._read("weight") + self._read("norm"):
            if piece.slice.name in scores:
                units = piece.units(scores[piece.slice.name].double())
                before = layers.get(piece.slice.name)
                layers[piece.slice.name] = units if before is None else before + units
        sums = torch.stack(list(layers.values()))
        means = sums.abs().mean(1, keepdim=True)
        fair = torch.where(means > 0, sums / means, torch.zeros_like(sums))
        return fair.sum(0) * means.mean()

    def write(self, keep: Tensor) -> None:
        """Takes the others away; units that are gone stay so."""
        gone = self.kept & ~keep.to(self.pieces[0].mask.keep.device)
        for piece in self.pieces:
            indices = piece.slice.indices.to(gone.device)[gone].reshape(-1)
            piece.mask.keep.index_fill_(piece.slice.dim, indices, False)

    def _read(self, kind: str) -> list[Piece]:
        if kind == "norm":
            return [p for p in self.pieces if p.parameter == "weight" and isinstance(p.module, _BatchNorm)]
        made = [p for p in self.pieces if p.slice.role == "output"]
        return [p for p in made if p.mask.keep.dim() > 1] or made


def coupled(model: nn.Module, task: Task, exclude: Sequence[str], kind: str, round_to: int) -> list[Coupled]:
    """The pools of ``kind`` (``"channel"`` or ``"head"``) of ``model``, masks put in place.

    Groups whose units a module of ``exclude`` makes or carries are left alone; a module that only reads them loses
    columns all the same. Raises :class:`UnsupportedError` where there are none, with the reasons, and
    :class:`ShapeError` where ``round_to`` is more than any group has.
    """
    left_alone = matching(model, exclude)
    coupling = couple(model, task.example)
    owners = dict(model.named_modules())
    found = []
    for group in coupling.groups:
        made = [s.name.rpartition(".")[0] for s in group.slices if s.role != "input"]
        if group.kind == kind and not any(within(name, left_alone) for name in made):
            found.append(Coupled(group, tuple(_pieces(owners, group)), round_to))
    if not found:
        raise UnsupportedError(_none_found(model, coupling, exclude, kind))
    largest = max(len(pool.kept) for pool in found)
    if round_to > largest:
        raise ShapeError(
            f"ShapeError: {kind}(round_to={round_to}) can take nothing from {type(model).__name__}, whose largest "
            f"group has {largest} {kind}s. Give a smaller one, as in round_to={max(1, largest // 4)}."
        )
    return found


def _none_found(model: nn.Module, coupling: Coupling, exclude: Sequence[str], kind: str) -> str:
    # What no code can change comes last; what layers share is told once.
    layers: dict[str, list[str]] = {}
    for name, reason in sorted(coupling.refused.items(), key=lambda one: any(text in one[1] for text in _GIVEN)):
        layers.setdefault(reason, []).append(name)
    told = [
        f"{', '.join(names[:3])}{', …' if names[3:] else ''}: {shared}" for shared, names in list(layers.items())[:3]
    ]
    why = "; ".join(told)
    normed = next((name for name, module in model.named_modules() if _normed(module)), None)
    way = (
        "Use structure=element() or block(), or leave Prune out of the recipe."
        if normed is None
        else f"Remove the parametrization of {normed!r} (weight or spectral norm?) by "
        "torch.nn.utils.parametrize.remove_parametrizations, or leave Prune out of the recipe."
    )
    return (
        f"UnsupportedError: {type(model).__name__} has no {kind}s that can be taken away"
        f"{f' outside exclude={tuple(exclude)!r}' if exclude else ''}{f' ({why})' if why else ''}. {way}"
    )


def _normed(module: nn.Module) -> bool:
    return parametrize.is_parametrized(module) and any(foreign(module, name) for name in module.parametrizations)  # type: ignore[union-attr]


def _pieces(owners: Mapping[str, nn.Module], group: Group) -> list[Piece]:
    pieces = []
    for one in group.slices:
        owner, _, name = one.name.rpartition(".")
        module = owners[owner]
        # Running statistics say nothing once scale and shift are zero. Nothing is put on the model itself: a tracer
        # would lose it; what reads the unit is masked, and so it is exact without.
        if owner and name not in module._buffers:
            pieces.append(Piece(one, module, name, mask_of(module, name)))
    return pieces
