"""The initialisation that residual networks and their kin were published with."""

from __future__ import annotations

from torch import nn


def he_normal_(model: nn.Module) -> nn.Module:
    """Draws convolutions from N(0, 2 / (k_h · k_w · outputs)), sets batch-norms to γ = 1, β = 0, all biases to 0.

    The variance counts a layer's outputs (fan out), as the networks' published code does, grouped or not. The weights
    of linear layers stay as torch draws them. Returns ``model``.
    Source: He, Zhang, Ren and Sun 2015, arXiv 1502.01852, eq. 14.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model
