"""The state of one trace: atoms of parameters, and what joins or freezes the labels of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flyweight.surgery.couple.classes import Classes
from flyweight.surgery.couple.value import (
    Value,
    Weight,
    along,
    broadcast,
    constant,
    core,
    count,
    first,
    numbered,
    varying,
)

_MOST_ELEMENTS = 1 << 22
"""A parameter of several dimensions that acts elementwise gets an atom for each element, up to so many."""


@dataclass(frozen=True, eq=False)
class Use:
    """One use of a parameter's axis (``dim`` None: of all its elements): ``role`` as in ``coupling.Slice``."""

    key: int
    dim: int | None
    role: str
    module: str


class Trace:
    """Atoms, their classes, and the labels of every tensor on the way."""

    def __init__(self) -> None:
        self.classes = Classes()
        self.shapes: dict[int, torch.Size] = {}
        self.uses: list[Use] = []
        self.seen: list[Tensor] = []
        self.heads: list[Tensor] = []
        self.atoms: dict[tuple[int, int | None], Tensor] = {}

    def axis(self, weight: Weight, dim: int, role: str, module: str) -> Tensor:
        """The atoms along ``dim`` of ``weight``, ``(size,)``; constant for a dimension that was put in."""
        axis = weight.axes[dim]
        if axis is None:
            return constant((1,))
        of, indices = axis
        if (weight.key, of) not in self.atoms:
            self.atoms[weight.key, of] = self.classes.fresh(self.shapes[weight.key][of])
        self.uses.append(Use(weight.key, of, role, module))
        return self.atoms[weight.key, of][indices]

    def value(self, thing: Value | Weight, module: str, role: str = "follow") -> Value:
        """``thing`` as an activation; a parameter's elements follow what they are joined with."""
        if isinstance(thing, Value):
            return thing
        long = [dim for dim, size in enumerate(thing.shape) if size > 1]
        shape = self.shapes[thing.key]
        if shape.numel() > _MOST_ELEMENTS:
            for dim in range(len(thing.axes)):
                self.classes.freeze(self.axis(thing, dim, role, module), f"{module!r} reads it in more than one way")
            return Value(constant(thing.shape))
        if sum(size > 1 for size in shape) <= 1:
            if not long:
                long = [d for d, axis in enumerate(thing.axes) if axis is not None][:1]
            if not long:
                return Value(constant(thing.shape))
            return Value(along(self.axis(thing, long[0], role, module), long[0], thing.shape), loose=True)
        if (thing.key, None) not in self.atoms:
            self.atoms[thing.key, None] = self.classes.fresh(shape.numel()).view(shape)
        self.uses.append(Use(thing.key, None, role, module))
        labels = self.atoms[thing.key, None]
        order = []
        for axis in thing.axes:
            if axis is not None:
                labels = labels.index_select(axis[0], axis[1])
                order.append(axis[0])
        lost = [dim for dim in range(labels.dim()) if dim not in order]
        labels = first(labels, lost).permute(*order, *lost).reshape(thing.shape)
        return Value(labels, loose=True)

    def roots(self, labels: Tensor) -> Tensor:
        """The classes of ``labels``, without repetition."""
        return self.classes.of(core(labels))

    def emit(self, labels: Tensor, source: Tensor | None = None, loose: bool = False) -> Value:
        """A tensor of these labels, kept for the final check of its shape."""
        if source is not None and count(source) == source.numel():
            source = None  # nothing in it was expanded
        self.seen.append(labels)
        return Value(labels, source, loose)

    def pin(self, labels: Tensor, dims: Iterable[int], why: str) -> None:
        """Says that the tensor keeps its whole extent along ``dims``.

        Where units differ along other dimensions too, those that differ along ``dims`` alone become one; else all stay.
        """
        labels = core(labels)
        differing = varying(self.classes.of(labels))
        pinned = differing & {dim % labels.dim() for dim in dims}
        if not pinned:
            return
        if pinned == differing:
            self.classes.freeze(labels, why)
        else:
            self.classes.union(labels, first(labels, pinned), why)

    def vector(self, labels: Tensor, dim: int, why: str) -> Tensor | None:
        """The labels along ``dim``, which a layer is about to sum over; None where units differ along others alone.

        Where they differ along ``dim`` and others, what gives more units wins.
        """
        dim %= labels.dim()
        roots = self.roots(labels)
        differing = varying(roots)
        others = differing - {dim}
        if others and dim in differing:
            mine, theirs = count(first(roots, others)), count(first(roots, {dim}))
            self.pin(labels, others if mine >= theirs else {dim}, why)
            if mine < theirs:
                return None
        elif others:
            return None
        elif not differing and roots.numel() and bool(roots.any()):
            self.classes.freeze(labels, f"{why} reads one unit alone, and one has to stay")
        return first(labels, [d for d in range(labels.dim()) if d != dim]).reshape(-1)

    def join(self, values: Sequence[Value], shape: Sequence[int], why: str) -> Value:
        """What an elementwise operation makes of ``values``, broadcast to ``shape``."""
        rank, why = len(shape), f"{why} joins it with what has to stay"
        aligned = [_aligned(value, rank) for value in values]
        whole = aligned[0]
        for other in aligned[1:]:
            whole = self._pair(whole, other, why)
        genuine = {d for d in range(rank) if shape[d] > 1 and any(value.genuine(d) for value in aligned)}
        free = any(shape[d] > 1 and d not in genuine for d in range(rank))
        loose = all(value.loose for value in values)
        return self.emit(whole.labels.expand(tuple(shape)), numbered(shape, genuine) if free else None, loose)

    def freeze(self, thing: Any, why: str) -> None:
        """Freezes every tensor in ``thing``."""
        if isinstance(thing, Value):
            self.classes.freeze(core(thing.labels), why)
        elif isinstance(thing, Weight):
            roles = ("output", "input") if len(thing.axes) > 1 else ("follow",)
            for dim, axis in enumerate(thing.axes):
                if axis is not None:
                    self.classes.freeze(self.axis(thing, dim, roles[min(dim, len(roles) - 1)], ""), why)
        elif isinstance(thing, tuple | list):
            for part in thing:
                self.freeze(part, why)
        elif isinstance(thing, dict):
            self.freeze(list(thing.values()), why)

    def _pair(self, x: Value, y: Value, why: str) -> Value:
        rx, ry = self.roots(x.labels), self.roots(y.labels)
        dx, dy = varying(rx), varying(ry)
        live_x, live_y = bool(rx.any()), bool(ry.any())
        shape = broadcast(x.shape, y.shape)
        if not live_x and live_y:
            return self._pair(y, x, why)
        if not live_x:
            return _wider(x, y, shape)
        if not live_y:
            dims = {d for d in dx if y.genuine(d)}
            self.pin(x.labels, dims, self.classes.why(core(y.labels)) or why)
            return Value(x.labels.expand(shape), _span(x, y, shape))
        if dx & dy or not (dx or dy):
            for one, its, other, others in ((y, dy, x, dx), (x, dx, y, dy)):
                # One scale for the dimensions of all heads: the heads shall stay apart.
                if one.loose and not other.loose and others - its:
                    self.classes.freeze(core(one.labels), f"{why}: one for several units")
                    return self._pair(other, one, why)
            self.classes.union(core(x.labels), core(y.labels), why)
            labels = x.labels if dx >= dy else y.labels
            return Value(labels.expand(shape), _span(x, y, shape))
        # They differ along dimensions that have nothing in common: only one of them can be followed.
        if x.loose != y.loose:
            lesser = x if x.loose else y
        else:
            lesser = x if count(rx) < count(ry) else y
        self.classes.freeze(core(lesser.labels), f"{why}, along another dimension")
        return self._pair(y if lesser is x else x, lesser, why)


def _aligned(value: Value, rank: int) -> Value:
    lead = (1,) * (rank - len(value.shape))
    if not lead:
        return value
    index = (None,) * len(lead)
    source = None if value.source is None else value.source[index]
    return Value(value.labels[index], source, value.loose)


def _wider(x: Value, y: Value, shape: torch.Size) -> Value:
    # Both stay; the labels that differ more tell more of why.
    labels = max((x.labels, y.labels), key=lambda t: core(t).numel())
    return Value(labels.expand(shape), _span(x, y, shape))


def _span(x: Value, y: Value, shape: torch.Size) -> Tensor | None:
    genuine = {d for d in range(len(shape)) if x.genuine(d) or y.genuine(d)}
    if all(size <= 1 or d in genuine for d, size in enumerate(shape)):
        return None
    return numbered(shape, genuine)
