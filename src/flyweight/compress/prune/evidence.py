"""What is known of a weight when its elements are scored, and what a score is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

NEEDS = ("gradient", "curvature", "inputs", "gram", "movement", "momentum", "openness")
"""What a score may ask for beside the weight; the fields of :class:`Evidence` of these names."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """One parameter and what was seen of it; a field that no score asked for is None.

    ``name`` is the parameter's dotted name; ``weight`` its value as training sees it, masked, before batch-norm is
    folded in or it is rounded. In ``weight``'s shape:
    ``gradient`` the mean of ∂L/∂ŵ over examples' batches, that of masked elements too; ``curvature`` the diagonal of
    the Gauss-Newton matrix of the loss; ``movement`` −Σ w·∂L/∂ŵ over the training steps heard; ``momentum`` the
    exponential mean of the dense gradient; ``openness`` how sure a gate or noise that is learnt is to keep an element,
    0 to 1. Of the layer's inputs as a matrix X ``(samples, inputs · kernel)``: ``inputs`` the norm ‖X_j‖₂ of each
    column, ``(columns,)``, and ``gram`` XᵀX / samples, ``(columns, columns)``; of a grouped convolution one for each
    group: ``(groups, columns)`` and ``(groups, columns, columns)``. ``together``: where tiles that go as one span
    several columns of the weight as a matrix, the number of the tile that each column is of, ``(columns,)``; else None.
    """

    name: str
    weight: Tensor
    gradient: Tensor | None = None
    curvature: Tensor | None = None
    inputs: Tensor | None = None
    gram: Tensor | None = None
    movement: Tensor | None = None
    momentum: Tensor | None = None
    openness: Tensor | None = None
    together: Tensor | None = None


class Score(Protocol):
    """How much each element of a parameter matters; a frozen dataclass whose settings are its fields."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The fields of :class:`Evidence` that it reads beside the weight."""

    @property
    def reads(self) -> str:
        """``"weight"``: the weights of layers; ``"norm"``: the scales of batch-norms, for structures of channels."""

    def __call__(self, evidence: Evidence) -> Tensor:
        """The saliency of each element, in the weight's shape; the greater, the later it goes. Never NaN."""
