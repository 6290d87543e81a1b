"""VGG with batch-norm for small images: 11, 13, 16 or 19 layers, as wide as asked."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from flyweight.core.errors import ShapeError
from flyweight.models.he_normal import he_normal_
from flyweight.models.scaled import scaled

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth → 3×3 convolutions in each of the five stages, of 64, 128, 256, 512 and 512 channels."""


def vgg(depth: int = 19, width: float = 1.0, classes: int = 10, channels: int = 1) -> nn.Sequential:
    """VGG-``depth`` for images of about 32×32 (16×16 at least): five stages with max-pooling between, one classifier.

    Each 3×3 convolution is without bias and followed by batch-norm, then ReLU. In place of the fifth pooling and the
    three dense layers of the original stand global average pooling and one linear layer, as in network slimming, whose
    VGG-19 has 20.04 M parameters. ``width`` scales all stages. Inputs ``(N, channels, H, W)``, outputs
    ``(N, classes)``. Batch-norm scales start at γ = 0.5, as slimming asks, and the classifier from N(0, 0.01²).
    Raises :class:`ShapeError` for another depth, or a width that is not above 0.
    Source: Simonyan and Zisserman 2014, arXiv 1409.1556; Liu, Li, Shen, Huang, Yan and Zhang 2017, arXiv 1708.06519.
    """
    if depth not in STAGES:
        raise ShapeError(f"ShapeError: there is no VGG-{depth}. Choose a depth of {', '.join(map(str, STAGES))}.")
    inputs = channels
    layers: list[nn.Module] = []
    for stage, (repeats, count) in enumerate(zip(STAGES[depth], (64, 128, 256, 512, 512), strict=True)):
        layers += [nn.MaxPool2d(2)] if stage else []
        for _ in range(repeats):
            outputs = scaled(count, width)
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
    head = nn.Linear(inputs, classes)
    parts = OrderedDict(features=nn.Sequential(*layers), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), head=head)
    model = nn.Sequential(parts)
    he_normal_(model)
    nn.init.normal_(head.weight, std=0.01)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.weight, 0.5)
    return model
