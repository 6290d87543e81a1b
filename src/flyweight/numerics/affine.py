"""Affine quantization of 2 to 8 bits, zero exact.

Menghani 2021, arXiv 2106.08962, Algorithms 2 and 3; Jacob et al. 2018, arXiv 1712.05877.
Scales and zero points broadcast against the tensor: scalars for one grid, or one a channel or group in the shape that
:mod:`flyweight.numerics.granularity` gives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flyweight.numerics.codes import CodeRange

SMALLEST_SCALE = 1e-10
"""No scale is below this: of a tensor of zeros too, so that dividing by it stays finite."""


def affine_grid(low: Tensor, high: Tensor, codes: CodeRange) -> tuple[Tensor, Tensor]:
    """Scale and zero point (float32, integer-valued) of the grid that covers ``[min(low, 0), max(high, 0)]``.

    s = (x_max − x_min) / (q_max − q_min),  z = clamp(round(q_min − x_min / s), q_min, q_max)

    The zero point is nudged to an integer code, so that 0 is on the grid (Algorithm 2, lines 1, 3 and 4).
    """
    low, high = low.float().clamp(max=0), high.float().clamp(min=0)
    scale = ((high - low) / (codes.high - codes.low)).clamp(min=SMALLEST_SCALE)
    zero_point = (codes.low - low / scale).round().clamp(codes.low, codes.high)
    return scale, zero_point


def symmetric_scale(low: Tensor, high: Tensor, codes: CodeRange) -> Tensor:
    """The scale of the grid with zero point 0 that covers both ends: s = max(|x_min|, |x_max|) / q_max."""
    largest = torch.maximum(low.float().abs(), high.float().abs())
    return (largest / codes.high).clamp(min=SMALLEST_SCALE)


def quantize(x: Tensor, scale: Tensor, zero_point: Tensor, codes: CodeRange) -> Tensor:
    """x_q = clamp(round(x / s) + z, q_min, q_max), as int16, ties to even (Algorithm 2, lines 2 and 5).

    Within the grid's range |x − s·(x_q − z)| ≤ s / 2.
    """
    return ((x.float() / scale).round() + zero_point).clamp(codes.low, codes.high).to(torch.int16)


def dequantize(x_q: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """x̂ = s·(x_q − z), float32 (Algorithm 3)."""
    return (x_q.float() - zero_point) * scale


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, codes: CodeRange) -> Tensor:
    """x̂ = dequantize(quantize(clamp(x))), in ``x``'s dtype, with the straight-through gradient (equation 3, set right).

    ∂x̂/∂x = 1 where round(x / s) + z is a code, 0 where it was clamped. Scale and zero point get no gradient.
    """
    result: Tensor = _FakeQuantize.apply(x, scale, zero_point, codes.low, codes.high)  # type: ignore[no-untyped-call]
    return result


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
        steps = (x.float() / scale).round_()
        bottom, top = low - zero_point, high - zero_point
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((steps >= bottom) & (steps <= top))
        return steps.clamp_(bottom, top).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None, None
