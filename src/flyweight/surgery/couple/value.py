"""What the trace knows of a tensor: a label for each of its elements, and where each of a parameter's axes goes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Value:
    """An activation. ``labels``, int64 in its shape: an element is there iff the unit of its label is kept; 0: always.

    Labels are constant, and kept with stride 0, along dimensions that no unit tells apart. ``source``, where it is
    given, numbers the elements of the tensor that this one was expanded from: a dimension along which it is constant
    takes any size. ``loose`` marks a parameter's elements, whose labels no layer made.
    """

    labels: Tensor
    source: Tensor | None = None
    loose: bool = False

    @property
    def shape(self) -> torch.Size:
        """The shape of the tensor."""
        return self.labels.shape

    def genuine(self, dim: int) -> bool:
        """Whether the tensor has a size of its own along ``dim``, which it would not take from another's."""
        if self.shape[dim] <= 1:
            return False
        return self.source is None or self.source.stride(dim) != 0


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter or buffer, or a part of one: each dimension is an axis of it, or new.

    ``key`` tells the tensor. ``axes[d]`` is the parameter's dimension and the indices along it, None for a dimension of
    size 1 that was put in.
    """

    key: int
    axes: tuple[tuple[int, Tensor] | None, ...]

    @property
    def shape(self) -> torch.Size:
        """The shape of the part."""
        return torch.Size([1 if axis is None else len(axis[1]) for axis in self.axes])


def constant(shape: Sequence[int]) -> Tensor:
    """Labels of what always stays."""
    return torch.zeros((), dtype=torch.int64).expand(tuple(shape))


def compact(labels: Tensor) -> Tensor:
    """``labels`` with stride 0 along the dimensions where they are constant."""
    for dim in range(labels.dim()):
        if labels.shape[dim] > 1 and labels.stride(dim) != 0 and labels.numel():
            first = labels.narrow(dim, 0, 1)
            if bool((core(labels) == core(first)).all()):
                labels = first.expand(labels.shape)
    return labels


def core(labels: Tensor) -> Tensor:
    """``labels`` without repetition: size 1 along each dimension of stride 0."""
    for dim in range(labels.dim()):
        if labels.shape[dim] > 1 and labels.stride(dim) == 0:
            labels = labels.narrow(dim, 0, 1)
    return labels


def varying(roots: Tensor) -> set[int]:
    """The dimensions along which ``roots`` differ."""
    found = set()
    for dim in range(roots.dim()):
        if roots.shape[dim] > 1 and bool((roots != roots.narrow(dim, 0, 1)).any()):
            found.add(dim)
    return found


def broadcast(one: Sequence[int], two: Sequence[int]) -> torch.Size:
    """The shape of two tensors of one rank, broadcast together."""
    return torch.Size([max(a, b) if min(a, b) else 0 for a, b in zip(one, two, strict=True)])


def count(roots: Tensor) -> int:
    """How many different ``roots`` there are."""
    return len(set(roots.reshape(-1).tolist()))


def first(labels: Tensor, dims: Iterable[int]) -> Tensor:
    """``labels`` at index 0 along ``dims``, which stay with size 1."""
    for dim in dims:
        labels = labels.narrow(dim, 0, 1)
    return labels


def along(vector: Tensor, dim: int, shape: Sequence[int]) -> Tensor:
    """``vector`` as labels of ``shape`` that differ along ``dim`` alone."""
    sizes = [1] * len(shape)
    sizes[dim] = len(vector)
    return vector.reshape(sizes).expand(tuple(shape))


def numbered(shape: Sequence[int], dims: Iterable[int]) -> Tensor:
    """A :attr:`Value.source` of ``shape`` whose genuine dimensions are ``dims``."""
    wanted = set(dims)
    sizes = [size if dim in wanted else 1 for dim, size in enumerate(shape)]
    return torch.arange(math.prod(sizes)).reshape(sizes).expand(tuple(shape))
