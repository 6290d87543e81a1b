"""Variational dropout: the noise of each weight measured against its size, and what its posterior costs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695
_LEAST = 1e-8  # of w², so that the logarithm of a zero is a number
LIMIT = 8.0
"""log α stays within ±LIMIT: beyond, the weight is all noise or has none, and the divergence is flat or linear."""


def log_alpha(log_variance: Tensor, weight: Tensor) -> Tensor:
    """``log α = log σ² − log w²``, elementwise, clipped to ±8: noise over signal, from σ² and w.

    Source: Molchanov, Ashukha and Vetrov, 2017, arXiv:1701.05369, eq. 11 (the additive parametrisation).
    """
    return (log_variance - (weight * weight + _LEAST).log()).clamp(-LIMIT, LIMIT)


def divergence(log_alpha: Tensor) -> Tensor:
    """``KL(N(w, α·w²) ‖ log-uniform)``, elementwise, in nats, up to the constant that makes it 0 as α → ∞.

    ``KL ≈ k₁ − k₁·σ(k₂ + k₃·log α) + ½·log(1 + 1/α)``, within 0.01 of the integral for every α.
    Source: as above, eq. 14.
    """
    return _K1 - _K1 * torch.sigmoid(_K2 + _K3 * log_alpha) + 0.5 * F.softplus(-log_alpha)
