"""The hard-concrete distribution: gates in [0, 1] that may be 0 or 1 exactly, and yet can be learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE, LOW, HIGH = 2 / 3, -0.1, 1.1
"""β, γ and ζ: the temperature of the concrete distribution, and the interval to which it is stretched."""

LIMIT = math.log(100.0)
"""log α stays within ±LIMIT: at either end a gate is open or closed for good, and its gradient all but gone."""


def probability_open(log_alpha: Tensor) -> Tensor:
    """``P(z ≠ 0) = σ(log α − β·log(−γ/ζ))``, elementwise: the expected L0 norm of a gate.

    Source: Louizos, Welling and Kingma, 2018, arXiv:1712.01312, eq. 12.
    """
    return torch.sigmoid(log_alpha - TEMPERATURE * math.log(-LOW / HIGH))


def sampled_gate(log_alpha: Tensor, uniform: Tensor) -> Tensor:
    """``z = clip(s·(ζ − γ) + γ, 0, 1)`` with ``s = σ((log u − log(1 − u) + log α) / β)``, elementwise.

    ``uniform`` holds draws from (0, 1) in ``log_alpha``'s shape. The gradient reaches ``log_alpha`` where 0 < z < 1.
    Source: as above, eqs. 10 and 11.
    """
    return _stretched(torch.sigmoid((torch.logit(uniform) + log_alpha) / TEMPERATURE))


def settled_gate(log_alpha: Tensor) -> Tensor:
    """``ẑ = clip(σ(log α)·(ζ − γ) + γ, 0, 1)``, elementwise: the gate without noise.

    1 exactly from σ(log α) = (1 − γ)/(ζ − γ) = 11/12 on, 0 exactly up to σ(log α) = −γ/(ζ − γ) = 1/12.
    Source: as above, eq. 13.
    """
    return _stretched(torch.sigmoid(log_alpha))


def _stretched(concrete: Tensor) -> Tensor:
    return (concrete * (HIGH - LOW) + LOW).clamp(0.0, 1.0)
