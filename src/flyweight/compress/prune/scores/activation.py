"""A weight and what it is multiplied by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required
from flyweight.core.errors import ShapeError


@dataclass(frozen=True)
class activation:
    """|W_ij|·‖X_j‖₂, with X_j column j of the layer's inputs: for a convolution, one input channel at one kernel place.

    Source: Sun et al. 2023 (Wanda), arXiv:2306.11695, eq. 1. There the weights of one output compete with each other.
    """

    needs: ClassVar[tuple[str, ...]] = ("inputs",)
    reads: ClassVar[str] = "weight"

    def __call__(self, evidence: Evidence) -> Tensor:
        weight = required(evidence, "weight", "activation")
        norms = required(evidence, "inputs", "activation")
        width = weight[0].numel()
        groups = norms.numel() // max(1, width)
        if norms.numel() != groups * width or len(weight) % max(1, groups):
            raise ShapeError(
                f"ShapeError: activation got {norms.numel()} norms of inputs for {evidence.name!r} of shape "
                f"{tuple(weight.shape)}. Give {width} of them, or as many for each group, as gather() does."
            )
        rows = weight.reshape(groups, -1, width)  # of a grouped convolution: each group's own inputs
        return (rows.abs() * norms.reshape(groups, 1, width)).reshape(weight.shape)
