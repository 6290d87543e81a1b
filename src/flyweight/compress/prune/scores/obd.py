"""What the loss rises by, to second order, when a weight is set to zero at a minimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required


@dataclass(frozen=True)
class obd:
    """½·h_kk·w_k², with h the diagonal of the Gauss-Newton matrix of the loss, never negative.

    It holds at a minimum, where the gradient is zero: train first. Source: LeCun, Denker and Solla 1989, Optimal Brain
    Damage, eq. 4 and the Levenberg-Marquardt approximation below eq. 10.
    """

    needs: ClassVar[tuple[str, ...]] = ("curvature",)
    reads: ClassVar[str] = "weight"

    def __call__(self, evidence: Evidence) -> Tensor:
        return 0.5 * required(evidence, "curvature", "obd") * required(evidence, "weight", "obd").square()
