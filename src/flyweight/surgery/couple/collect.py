"""From classes of atoms to groups of units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.surgery.couple.follow import Followed
from flyweight.surgery.couple.trace import Use
from flyweight.surgery.couple.value import first, varying
from flyweight.surgery.coupling import Coupling, Group, Slice


@dataclass(frozen=True, eq=False)
class _Axis:
    """One dimension of one parameter: the class of each index, and its uses."""

    key: int
    dim: int
    roots: Tensor
    uses: list[Use]


def collect(followed: Followed) -> Coupling:
    """The groups that ``followed`` found, in the order of the model, and why other layers have to stay."""
    axes = list(_axes(followed))
    groups = _groups(followed, axes)
    return Coupling(tuple(groups), _refused(followed, axes, groups))


def classes_of(followed: Followed, group: Group) -> Tensor:
    """The class of each unit of ``group``, which came from an equal trace."""
    at = group.slices[0]
    key = next(key for key, names in followed.names.items() if at.name in names)
    axis = next(axis for axis in _axes(followed) if axis.key == key and axis.dim == at.dim)
    return axis.roots[at.indices[:, 0]]


def _axes(followed: Followed) -> Iterator[_Axis]:
    trace = followed.trace
    order: dict[tuple[int, int | None], list[Use]] = {}
    for use in trace.uses:
        order.setdefault((use.key, use.dim), []).append(use)
    for (key, dim), uses in order.items():
        roots = trace.classes.of(trace.atoms[key, dim])
        if dim is None:
            differing = varying(roots)
            if not differing:
                continue
            dim = differing.pop()
            roots = first(roots, [d for d in range(roots.dim()) if d != dim]).reshape(-1)
        yield _Axis(key, dim, roots, uses)


def _groups(followed: Followed, axes: list[_Axis]) -> list[Group]:
    members: dict[int, list[tuple[int, int]]] = {}
    for number, axis in enumerate(axes):
        roots, counts = torch.unique(axis.roots, return_counts=True)
        for root, count in zip(roots.tolist(), counts.tolist(), strict=True):
            if root:
                members.setdefault(root, []).append((number, count))
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for root, mine in members.items():
        alike.setdefault(tuple(mine), []).append(root)
    heads = {root for t in followed.trace.heads for root in followed.trace.classes.of(t).tolist()}
    found = []
    for places, classes in sorted(alike.items(), key=lambda item: item[0][0]):
        if len(classes) > 1:
            kind = "head" if heads & set(classes) else "channel"
            found.append(_group(followed, [(axes[number], count) for number, count in places], classes, kind))
    return _named(found)


def _group(followed: Followed, axes: list[tuple[_Axis, int]], classes: list[int], kind: str) -> Group:
    lead = axes[0][0].roots
    wanted = torch.tensor(sorted(classes))
    # Units in the order in which they stand in the first parameter.
    firsts = torch.stack([(lead == root).nonzero()[0, 0] for root in wanted])
    rank = torch.empty_like(firsts)
    rank[firsts.argsort()] = torch.arange(len(firsts))
    slices: dict[tuple[str, int, str], Slice] = {}
    for axis, count in axes:
        place = torch.searchsorted(wanted, axis.roots).clamp(max=len(wanted) - 1)
        mine = (wanted[place] == axis.roots).nonzero()[:, 0]
        order = rank[place[mine]].argsort(stable=True)
        indices = mine[order].view(len(wanted), count)
        for name, role in _roles(followed, axis):
            slices.setdefault((name, axis.dim, role), Slice(name, axis.dim, indices, role))
    return Group("", kind, len(wanted), tuple(slices.values()))


def _roles(followed: Followed, axis: _Axis) -> Iterator[tuple[str, str]]:
    """The names under which the axis is used, each with its role there; names that no use tells get the first role."""
    names = followed.names[axis.key]
    told = set()
    for use in axis.uses:
        mine = [name for name in names if name.rpartition(".")[0] == use.module] or list(names[:1])
        for name in mine:
            told.add(name)
            yield name, use.role
    for name in names:
        if name not in told:
            yield name, axis.uses[0].role


def _named(groups: list[Group]) -> list[Group]:
    """Each group under the name of the first layer that makes its units, with a number where that one has several."""
    named: list[Group] = []
    taken: dict[str, int] = {}
    for group in groups:
        maker = next((s for s in group.slices if s.role == "output"), group.slices[0])
        label = maker.name.rpartition(".")[0] or maker.name
        taken[label] = taken.get(label, 0) + 1
        label = label if taken[label] == 1 else f"{label}#{taken[label]}"
        named.append(Group(label, group.kind, group.units, group.slices))
    return named


def _refused(followed: Followed, axes: list[_Axis], groups: list[Group]) -> dict[str, str]:
    trace = followed.trace
    free = {(s.name, s.dim) for group in groups for s in group.slices}
    refused: dict[str, str] = {}
    for axis in axes:
        if not any(use.role == "output" for use in axis.uses):
            continue
        names = [(name, role) for name, role in _roles(followed, axis) if role == "output"]
        layer = names[0][0].rpartition(".")[0].partition(".parametrizations")[0] or names[0][0]
        if layer in refused or any((name, axis.dim) in free for name, _ in names):
            continue
        dim = next(use.dim for use in axis.uses)
        why = trace.classes.why(trace.atoms[axis.key, dim])
        refused[layer] = why or "all of its outputs hang together, and one at least has to stay"
    return refused
