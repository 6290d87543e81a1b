"""DenseNet for small images: every layer reads what all layers before it in its block have made."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import ShapeError
from flyweight.models.he_normal import he_normal_
from flyweight.models.scaled import scaled


class DenseNet(nn.Module):
    """What :func:`densenet` makes: a stem, three dense blocks with transitions between, pooling, a classifier."""

    def __init__(self, layers: int, growth: int, classes: int, channels: int, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        inputs = 2 * growth if bottleneck else 16
        self.stem = nn.Conv2d(channels, inputs, 3, padding=1, bias=False)
        parts: list[nn.Module] = []
        for block in range(3):
            for _ in range(layers):
                parts.append(_Layer(inputs, growth, bottleneck, dropout))
                inputs += growth
            if block < 2:
                outputs = inputs // 2 if bottleneck else inputs
                parts.append(_Transition(inputs, outputs, dropout))
                inputs = outputs
        self.blocks = nn.Sequential(*parts)
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, channels, H, W)`` to logits ``(N, classes)``."""
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self, inputs: int, growth: int, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        self.squeeze: nn.Module = nn.Identity()
        inner = inputs
        if bottleneck:
            inner = 4 * growth
            self.squeeze = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, inner, 1, bias=False))
        self.norm = nn.BatchNorm2d(inner)
        self.conv = nn.Conv2d(inner, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        new = self.dropout(self.conv(F.relu(self.norm(self.squeeze(x)))))
        return torch.cat([x, new], 1)


class _Transition(nn.Module):
    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.dropout(self.conv(F.relu(self.norm(x)))), 2)


def densenet(
    depth: int = 100,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 1,
    bottleneck: bool = True,
    dropout: float = 0.0,
) -> DenseNet:
    """DenseNet-BC with ``depth`` layers for images of about 32×32 (4×4 at least), of growth rate k = 12 · ``width``.

    x ↦ [x, H(x)], H = BN → ReLU → 1×1 to 4k → BN → ReLU → 3×3 to k; transitions halve channels and image. ``depth``
    is 6n + 4, n layers in each of three blocks. Without ``bottleneck`` it is the plain DenseNet: no 1×1, no halving of
    channels, depth 3n + 4. ``dropout`` follows each convolution but the stem (the paper: 0.2 without augmentation).
    Inputs ``(N, channels, H, W)``, outputs ``(N, classes)``.
    Raises :class:`ShapeError` for another depth, or a width that is not above 0.
    Source: Huang, Liu, van der Maaten and Weinberger 2017, arXiv 1608.06993, sections 3 and 4.2.
    """
    each = 6 if bottleneck else 3
    layers, rest = divmod(depth - 4, each)
    if rest or layers < 1:
        raise ShapeError(
            f"ShapeError: there is no DenseNet{'-BC' * bottleneck}-{depth}: the depth is {each}n + 4. "
            f"The nearest is {each * max(1, round((depth - 4) / each)) + 4}."
        )
    model = DenseNet(layers, scaled(12, width), classes, channels, bottleneck, dropout)
    he_normal_(model)
    return model
