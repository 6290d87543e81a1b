"""The last word of a trace: every tensor has to be a rectangle whatever unit goes, and never an empty one."""

from __future__ import annotations

from torch import Tensor

from flyweight.surgery.couple.trace import Trace
from flyweight.surgery.couple.value import core, count, first, varying


def settle(trace: Trace) -> None:
    """Joins units until each owns whole slices along one dimension of every tensor, and freezes what owns a tensor.

    Where a tensor can be cut along several dimensions, the one that leaves more units wins.
    """
    _agree(trace)
    tensors = {(t.data_ptr(), t.shape, t.stride()): t for t in [core(t) for t in trace.seen] if t.numel()}
    for (key, dim), atoms in trace.atoms.items():
        tensors[key, dim, "atoms"] = atoms  # type: ignore[index]
    changed = True
    while changed:
        changed = False
        for labels in tensors.values():
            changed |= _square(trace, labels)


def _square(trace: Trace, labels: Tensor) -> bool:
    roots = trace.classes.of(labels)
    differing = varying(roots)
    if not differing:
        if labels.numel() and bool(roots.any()):
            trace.classes.freeze(labels, "a tensor on its way would be empty without it")
            return True
        return False
    if len(differing) == 1:
        return False
    best = max(sorted(differing), key=lambda dim: count(first(roots, differing - {dim})))
    trace.classes.union(labels, first(labels, differing - {best}), "it cannot be cut out of a tensor on its way")
    return True


def _agree(trace: Trace) -> None:
    """Freezes parameters that are read by their axes in one place and elementwise in another."""
    whole = {key for key, dim in trace.atoms if dim is None}
    for (key, _), atoms in trace.atoms.items():
        if key in whole and any(other == key and of is not None for other, of in trace.atoms):
            trace.classes.freeze(atoms, "a parameter of it is read in more than one way")
