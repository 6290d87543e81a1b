"""MobileNetV2: inverted residuals with linear bottlenecks, as wide and as deep as asked."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import ShapeError
from flyweight.models.he_normal import he_normal_
from flyweight.models.scaled import scaled

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion t, channels c, repeats n, first stride s: the paper's table 2."""


class MobileNetV2(nn.Module):
    """What :func:`mobilenet_v2` makes; its parameters have the names that torchvision gives them."""

    def __init__(self, width: float, depth: float, classes: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        spare = int(math.log2(32 // stride))
        inputs = _wide(32, width)
        layers: list[nn.Module] = [_conv(channels, inputs, 3, 1 if spare else 2)]
        spare = max(0, spare - 1)
        for expansion, count, repeats, step in STAGES:
            if step == 2 and spare:
                step, spare = 1, spare - 1
            for place in range(math.ceil(repeats * depth)):
                outputs = _wide(count, width)
                layers.append(InvertedResidual(inputs, outputs, 1 if place else step, expansion))
                inputs = outputs
        last = _wide(1280, max(1.0, width))
        self.features = nn.Sequential(*layers, _conv(inputs, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, channels, H, W)`` to logits ``(N, classes)``."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(x.flatten(1))  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """1×1 expansion to t·c channels, 3×3 depthwise, 1×1 projection without activation; x is added where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [_conv(inputs, inner, 1)] if expansion != 1 else []
        project = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv = nn.Sequential(*expand, _conv(inner, inner, 3, stride, groups=inner), *project)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        return x + self.conv(x) if self.adds else self.conv(x)  # type: ignore[no-any-return]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


def _wide(count: int, width: float) -> int:
    """``count · width`` in eights, and never a tenth less than asked, as the published networks are rounded."""
    outputs = scaled(count, width, 8)
    return outputs + 8 if outputs < 0.9 * count * width else outputs


def mobilenet_v2(
    width: float = 1.0,
    depth: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
    stride: int = 32,
    dropout: float = 0.2,
) -> MobileNetV2:
    """MobileNetV2: 17 inverted residuals between a 3×3 stem and a 1×1 convolution, pooling, a classifier.

    ``width`` scales all channels, in multiples of 8, but the last 1280 never below 1280; ``depth`` scales how often
    each stage repeats (rounded up). ``stride`` is by how much the whole network shrinks an image: 32 for 224×224; 8 or
    4 for 32×32, where the first halvings are left out. Inputs ``(N, channels, H, W)``, outputs ``(N, classes)``. At
    the defaults it has 3,504,872 parameters, and
    :func:`~flyweight.models.load_mobilenet_v2_weights.load_mobilenet_v2_weights` gives it ImageNet's values.
    Raises :class:`ShapeError` for a width or a depth that is not above 0, or another stride.
    Source: Sandler, Howard, Zhu, Zhmoginov and Chen 2018, arXiv 1801.04381, table 2.
    """
    if stride not in (1, 2, 4, 8, 16, 32):
        raise ShapeError(f"ShapeError: MobileNetV2 cannot have stride {stride}. Choose one of 1, 2, 4, 8, 16, 32.")
    if not 0 < depth < float("inf"):
        raise ShapeError(f"ShapeError: MobileNetV2 cannot be {depth} times as deep. Give a depth above 0, such as 0.5.")
    model = MobileNetV2(width, depth, classes, channels, stride, dropout)
    he_normal_(model)
    head = model.classifier[1]
    nn.init.normal_(head.weight, std=0.01)  # type: ignore[arg-type]
    return model
