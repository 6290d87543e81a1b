"""Squeeze and excitation: each channel weighed by what all channels hold on average."""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """x ↦ x · σ(W₂ ReLU(W₁ mean_hw x)), channel by channel, with ``channels / reduction`` neurons between.

    Neither W has a bias, as the paper's journal version found best. ``(N, channels, H, W)`` to the same shape.
    Source: Hu, Shen, Albanie, Sun and Wu 2018, arXiv 1709.01507, eq. 2–4.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.excite = nn.Linear(inner, channels, bias=False)
        self.relu = nn.ReLU()
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """``x``, weighed."""
        weight: Tensor = self.sigmoid(self.excite(self.relu(self.squeeze(x.mean((2, 3))))))
        return x * weight.unsqueeze(-1).unsqueeze(-1)
