"""Chance: the control that every other score has to beat."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from flyweight.compress.prune.evidence import Evidence


@dataclass(frozen=True)
class random:
    """u ~ U[0, 1) for each element, by ``seed``, the parameter's name and its shape: the same on every machine.

    The values stay as training goes on, so what a higher ratio keeps is a part of what a lower one kept. No global
    generator is read or moved.
    """

    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "weight"

    def __call__(self, evidence: Evidence) -> Tensor:
        shape = tuple(evidence.weight.shape)
        digest = hashlib.sha256(f"{self.seed} {evidence.name} {shape}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        return torch.rand(shape, generator=generator).to(evidence.weight.device)
