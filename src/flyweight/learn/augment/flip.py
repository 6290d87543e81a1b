"""Mirroring images left to right."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from flyweight.learn.augment.images import check_images, check_range, kornia


@dataclass(frozen=True)
class flip:
    """Mirrors each image ``(N, C, H, W)`` left to right with probability ``p``. Not for digits, letters, or signs."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_range("flip", "p", self.p, 0, 1)

    def __call__(self, inputs: Tensor) -> Tensor:
        check_images("flip", inputs)
        return inputs if self.p == 0 else _built(self)(inputs)


@functools.cache
def _built(settings: flip) -> Any:
    return kornia().RandomHorizontalFlip(p=settings.p)
