"""Moving images by a few pixels."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from flyweight.learn.augment.images import check_images, check_range, kornia


@dataclass(frozen=True)
class translate:
    """Moves each image ``(N, C, H, W)`` by up to ``fraction`` of its height and width, with probability ``p``.

    Distances are uniform, values between pixels bilinear, and what comes in from outside is 0.
    The default is the survey's 3 pixels of 32.
    """

    fraction: float = 3 / 32
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range("translate", "fraction", self.fraction, 0, 1)
        check_range("translate", "p", self.p, 0, 1)

    def __call__(self, inputs: Tensor) -> Tensor:
        check_images("translate", inputs)
        return inputs if self.p == 0 or self.fraction == 0 else _built(self)(inputs)


@functools.cache
def _built(settings: translate) -> Any:
    span = (-settings.fraction, settings.fraction)
    return kornia().RandomTranslate(span, span, p=settings.p, align_corners=True)
