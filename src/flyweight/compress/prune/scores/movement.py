"""How far training moves a weight away from zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required


@dataclass(frozen=True)
class movement:
    """−Σ_t w·∂L/∂ŵ over the training steps: positive where |w| was made to grow, negative where it shrank.

    It needs training, so a schedule that prunes in training. Source: Sanh et al. 2020, arXiv:2005.07683, eq. 4.
    """

    needs: ClassVar[tuple[str, ...]] = ("movement",)
    reads: ClassVar[str] = "weight"

    def __call__(self, evidence: Evidence) -> Tensor:
        return required(evidence, "movement", "movement")
