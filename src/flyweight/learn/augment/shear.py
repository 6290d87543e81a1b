"""Slanting images."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from flyweight.learn.augment.images import check_images, check_range, kornia


@dataclass(frozen=True)
class shear:
    """Slants each image ``(N, C, H, W)`` along both axes by up to ``degrees`` either way, with probability ``p``.

    Angles are uniform, values between pixels bilinear, and what comes in from outside is 0.
    """

    degrees: float = 10.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range("shear", "degrees", self.degrees, 0, 80)
        check_range("shear", "p", self.p, 0, 1)

    def __call__(self, inputs: Tensor) -> Tensor:
        check_images("shear", inputs)
        return inputs if self.p == 0 or self.degrees == 0 else _built(self)(inputs)


@functools.cache
def _built(settings: shear) -> Any:
    span = (-settings.degrees, settings.degrees)
    return kornia().RandomShear((*span, *span), p=settings.p, align_corners=True)
