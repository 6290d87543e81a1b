"""Blanking a rectangle of each image."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flyweight.core.errors import FlyweightError
from flyweight.learn.augment.images import check_images, check_range, kornia


@dataclass(frozen=True)
class erase:
    """Sets one rectangle of each image ``(N, C, H, W)`` to ``value``, with probability ``p``.

    ``area`` bounds its share of the image, ``ratio`` its height over its width.
    Source: Zhong and others, 2020, arXiv:1708.04896, algorithm 1, with a constant in place of noise.
    """

    p: float = 0.5
    area: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float = 0.0

    def __post_init__(self) -> None:
        check_range("erase", "p", self.p, 0, 1)
        for name, most in (("area", 1.0), ("ratio", 100.0)):
            span = getattr(self, name)
            if len(span) != 2 or not 0 < span[0] <= span[1] <= most:
                raise FlyweightError(
                    f"FlyweightError: erase got {name}={span!r}. "
                    f"Give the least and the most, above 0 and up to {most:g}."
                )

    def __call__(self, inputs: Tensor) -> Tensor:
        check_images("erase", inputs)
        if self.p == 0:
            return inputs
        kept = _built(self)(inputs.new_ones(inputs.shape[0], 1, *inputs.shape[2:]))
        return torch.where(kept == 0, self.value, inputs)  # kornia itself knows no value below 0 or above 1


@functools.cache
def _built(settings: erase) -> Any:
    return kornia().RandomErasing(scale=settings.area, ratio=settings.ratio, value=0.0, p=settings.p)
