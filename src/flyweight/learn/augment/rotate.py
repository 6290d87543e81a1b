"""Turning images by a few degrees."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from flyweight.learn.augment.images import check_images, check_range, kornia


@dataclass(frozen=True)
class rotate:
    """Turns each image ``(N, C, H, W)`` about its centre by up to ``degrees`` either way, with probability ``p``.

    Angles are uniform, values between pixels bilinear, and what comes in from outside is 0.
    """

    degrees: float = 15.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range("rotate", "degrees", self.degrees, 0, 180)
        check_range("rotate", "p", self.p, 0, 1)

    def __call__(self, inputs: Tensor) -> Tensor:
        check_images("rotate", inputs)
        return inputs if self.p == 0 or self.degrees == 0 else _built(self)(inputs)


@functools.cache
def _built(settings: rotate) -> Any:
    return kornia().RandomRotation(settings.degrees, p=settings.p)
