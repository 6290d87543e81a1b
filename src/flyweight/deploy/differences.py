"""How far what a file computes lies from what a model computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""What may differ, relative to the largest value of the output, by its type. float32 (float64 too, as files hold
float32): sums of thousands of products, taken in another order and with batch-norm folded, differ by 1e-6 to 1e-5, and
a wrong layer by far more than 1e-4. The shorter types: about ten of their roundings (5e-4 and 4e-3) upon one another.
"""

OFF_GRID = 5e-2
"""The same for an output that is no integer itself but computed from integers, or an integer computed from floats that
were computed from integers: a step of an 8-bit tensor is 4e-3 of its range, and a sum meets several that two ways of
rounding put on either side."""


@dataclass(frozen=True)
class Difference:
    """``max_abs`` between two tensors; ``scale``: the largest magnitude of the first; ``step``: of its grid, if any.

    ``share`` of the numbers are equal: to half a step on a grid, else within the tolerance. With ``loose`` a grid's
    numbers may differ by the tolerance too, where that is more than a step.
    """

    max_abs: float
    scale: float
    share: float
    step: float | None = None
    tolerance: float = TOLERANCES[torch.float32]
    loose: bool = False

    @property
    def allowed(self) -> float:
        """How many steps of the grid may lie between two numbers, or how many times the scale."""
        if self.step is None:
            return self.tolerance
        return max(1.0, self.tolerance * self.scale / self.step) if self.loose else 1.0

    @property
    def steps(self) -> float | None:
        """``max_abs`` in steps of the grid."""
        return None if self.step is None else round(self.max_abs / self.step, 3)

    @property
    def excess(self) -> float:
        """How often what is allowed fits in: steps on a grid, else the tolerance times the scale. 1 is the limit."""
        if self.steps is not None:
            return self.steps / self.allowed
        return self.max_abs / (self.tolerance * self.scale) if self.max_abs else 0.0

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps:.3g} steps of {self.step:.3g}, with {self._apart} of its numbers unequal"
        return f"{self.max_abs:.3g} where values go up to {self.scale:.3g}, with {self._apart} of its numbers unequal"

    @property
    def _apart(self) -> str:
        return f"{100 * (1 - self.share):.1f} %"


def difference(
    expected: Tensor, found: Tensor, step: float | None = None, tolerance: float | None = None
) -> Difference:
    """Compares two tensors of one shape; NaN equals NaN, and an infinity itself.

    Without a ``tolerance`` that of ``expected``'s type counts; whole numbers must be equal. On a grid one step is
    allowed, or a ``tolerance`` that is given, if that is more.
    """
    loose = tolerance is not None
    exact = not expected.is_floating_point()
    if tolerance is None:
        tolerance = 1e-9 if exact else TOLERANCES.get(expected.dtype, TOLERANCES[torch.float32])
    a, b = expected.detach().cpu().double(), found.detach().cpu().double()
    same = (a == b) | (a.isnan() & b.isnan())
    apart = torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=float("inf"))
    finite = a[a.isfinite()]
    scale = max(float(finite.abs().max()) if finite.numel() else 0.0, torch.finfo(torch.float32).tiny)
    limit = step / 2 if step is not None else tolerance * scale
    return Difference(
        max_abs=float(apart.max()) if apart.numel() else 0.0,
        scale=scale,
        share=float((apart <= limit).double().mean()) if apart.numel() else 1.0,
        step=step,
        tolerance=tolerance,
        loose=loose,
    )
