"""How steadily training pulls at a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required


@dataclass(frozen=True)
class momentum:
    """|m| of the exponential mean m of the dense gradient.

    It needs training, so a schedule that prunes in training. Source: Dettmers and Zettlemoyer 2019 (sparse momentum),
    arXiv:1907.04840, section 3.
    """

    needs: ClassVar[tuple[str, ...]] = ("momentum",)
    reads: ClassVar[str] = "weight"

    def __call__(self, evidence: Evidence) -> Tensor:
        return required(evidence, "momentum", "momentum").abs()
