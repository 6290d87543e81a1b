"""The initialisation that transformers and their kin were published with."""

from __future__ import annotations

from torch import nn


def truncated_normal_(model: nn.Module, std: float = 0.02) -> nn.Module:
    """Draws the weights of convolutions and linear layers from N(0, std²), cut at ±2, and sets their biases to 0.

    Returns ``model``. Source: Touvron, Cord, Douze, Massa, Sablayrolles and Jégou 2021 (DeiT), arXiv 2012.12877,
    section 6, and its published code.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
