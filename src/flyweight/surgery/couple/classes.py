"""Classes of atoms: what lives and dies together."""

from __future__ import annotations

import torch
from torch import Tensor


class Classes:
    """A partition of atoms, which only ever grow together. Atom 0 is what has to stay, and so is its whole class.

    ``root`` gives each atom the least atom of its class, so a frozen one has root 0. Why a class was frozen is kept
    with each of its atoms.
    """

    def __init__(self) -> None:
        self.root = torch.zeros(1, dtype=torch.int64)
        self._why = torch.zeros(1, dtype=torch.int64)
        self._texts = [""]

    def fresh(self, count: int) -> Tensor:
        """``count`` new atoms, each a class of its own."""
        start = len(self.root)
        atoms = torch.arange(start, start + count)
        self.root = torch.cat([self.root, atoms])
        self._why = torch.cat([self._why, torch.zeros(count, dtype=torch.int64)])
        return atoms

    def of(self, labels: Tensor) -> Tensor:
        """The class of each label; 0 where it has to stay."""
        return self.root[labels]

    def union(self, a: Tensor, b: Tensor, why: str) -> None:
        """Makes ``a[i]`` and ``b[i]`` one class, for all i; ``why`` is told where one of them had to stay."""
        shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]
        a, b = (labels.expand(shape).reshape(-1) for labels in (a, b))
        apart = self.root[a] != self.root[b]
        if not apart.any():
            return
        a, b = a[apart], b[apart]
        if len(a) > 1:
            pairs = torch.unique(a * len(self.root) + b)
            a, b = pairs // len(self.root), pairs % len(self.root)
        before = self.root == 0
        while True:
            x, y = self.root[a], self.root[b]
            apart = x != y
            if not apart.any():
                break
            low, high = torch.minimum(x, y)[apart], torch.maximum(x, y)[apart]
            self.root.scatter_reduce_(0, high, low, "amin")
            while not torch.equal(self.root, jumped := self.root[self.root]):
                self.root = jumped
        frozen = (self.root == 0) & ~before
        if frozen.any():
            self._why[frozen] = self._cause(torch.cat([a, b]), before, why)

    def freeze(self, labels: Tensor, why: str) -> None:
        """Says that these classes have to stay, and why."""
        self.union(labels, labels.new_zeros(()), why)

    def why(self, labels: Tensor) -> str:
        """Why the first of these that has to stay has to."""
        told = self._why[labels.reshape(-1)]
        told = told[told > 0]
        return self._texts[int(told[0])] if len(told) else ""

    def _cause(self, atoms: Tensor, frozen: Tensor, why: str) -> int:
        # What froze the other side first is what the reader has to know.
        told = self._why[atoms[frozen[atoms]]]
        told = told[told > 0]
        if len(told):
            return int(told[0])
        self._texts.append(why)
        return len(self._texts) - 1
