"""The scale that batch-norm gives a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required


@dataclass(frozen=True)
class norm_scale:
    """|γ| of the batch-norm that follows a channel, for structures of whole channels.

    It tells channels apart after training with an L1 penalty on γ. Source: Liu et al. 2017 (network slimming),
    arXiv:1708.06519.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "norm"

    def __call__(self, evidence: Evidence) -> Tensor:
        return required(evidence, "weight", "norm_scale").abs()
