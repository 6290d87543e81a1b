"""What the loss changes by, to first order, when a weight is set to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required


@dataclass(frozen=True)
class taylor:
    """|g·w| with g = ∂L/∂w, since L(w=0) − L(w) = −g·w + O(w²); ``squared`` gives (g·w)².

    g is the mean over the examples. Source: Molchanov et al. 2017, arXiv:1611.06440, and for ``squared`` Molchanov et
    al. 2019, arXiv:1906.10771, eq. 8.
    """

    squared: bool = False

    needs: ClassVar[tuple[str, ...]] = ("gradient",)
    reads: ClassVar[str] = "weight"

    def __call__(self, evidence: Evidence) -> Tensor:
        change = required(evidence, "weight", "taylor") * required(evidence, "gradient", "taylor")
        return change.square() if self.squared else change.abs()
