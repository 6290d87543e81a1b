"""The survey's own network: six 3×3 convolutions and two dense layers, as wide as asked."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from flyweight.core.errors import ShapeError


def survey_cnn(width: float = 1.0, classes: int = 10, channels: int = 1, size: int = 28) -> nn.Module:
    """Conv 32, 32 → pool → 64w, 64w → pool → 128w, 128w → pool → Dense 512w → classes; logits come out.

    ``width`` w scales every layer but the first two and the last; channel counts are rounded to the nearest whole
    number, never under 1. Every convolution is 3×3 with padding 1 and followed by batch-norm, then ReLU. Inputs
    ``(N, channels, size, size)``, outputs ``(N, classes)``.
    Raises :class:`ShapeError` for a width that is not above 0, and for images that three poolings leave nothing of.

    Source: Menghani, "Efficient Deep Learning", ACM Computing Surveys 2023, arXiv 2106.08962, section 4. It differs in
    two ways: theirs goes conv → ReLU → batch-norm, which cannot be folded into an integer convolution, and its
    convolutions have biases, which batch-norm makes idle.
    """
    if not 0 < width < float("inf"):
        raise ShapeError(f"ShapeError: survey_cnn cannot be {width} wide. Give a width above 0, such as 0.5.")
    if size < 8 or channels < 1 or classes < 1:
        raise ShapeError(
            f"ShapeError: survey_cnn cannot take {channels}×{size}×{size} images of {classes} classes. "
            "Three poolings need images of at least 8×8, and there must be a channel and a class."
        )
    narrow, wide, dense = (max(1, round(n * width)) for n in (64, 128, 512))
    features = [
        *(*_block(channels, 32), *_block(32, 32), nn.MaxPool2d(2)),
        *(*_block(32, narrow), *_block(narrow, narrow), nn.MaxPool2d(2)),
        *(*_block(narrow, wide), *_block(wide, wide), nn.MaxPool2d(2)),
    ]
    head = [nn.Linear(wide * (size // 8) ** 2, dense), nn.ReLU(), nn.Linear(dense, classes)]
    parts = OrderedDict(features=nn.Sequential(*features), flatten=nn.Flatten(), head=nn.Sequential(*head))
    return nn.Sequential(parts)


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
