"""RandAugment: a few operations drawn at random, all at one magnitude."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from flyweight.core.errors import FlyweightError
from flyweight.learn.augment.images import check_images, check_range, kornia


@dataclass(frozen=True)
class randaugment:
    """Applies ``count`` operations, drawn for each batch from kornia's 15, at ``magnitude`` of 30, to ``(N, C, H, W)``.

    ``bounds`` are the values of black and white in the data: (0, 1) for plain images; for normalised ones, what 0 and 1
    became. Values are clipped to them, since operations such as posterize know no others. Images of other than three
    channels skip the change of colour. ``count=0`` leaves the inputs alone.
    Source: Cubuk, Zoph, Shlens and Le, 2020, arXiv:1909.13719.
    """

    count: int = 2
    magnitude: float = 9.0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_range("randaugment", "count", self.count, 0, 14)
        if not 0 < self.magnitude < 30:
            raise FlyweightError(
                f"FlyweightError: randaugment got magnitude={self.magnitude!r}. Give a number above 0 and below 30."
            )
        if len(self.bounds) != 2 or not self.bounds[0] < self.bounds[1]:
            raise FlyweightError(
                f"FlyweightError: randaugment got bounds={self.bounds!r}. "
                "Give the values of black and white, as in (0.0, 1.0)."
            )

    def __call__(self, inputs: Tensor) -> Tensor:
        check_images("randaugment", inputs)
        if self.count == 0:
            return inputs
        low, high = self.bounds
        plain = ((inputs - low) / (high - low)).clamp(0, 1)
        changed: Tensor = _built(self, inputs.shape[1] == 3)(plain)
        return (changed.clamp(0, 1) * (high - low) + low).to(inputs.dtype)


@functools.cache
def _built(settings: randaugment, coloured: bool) -> Any:
    auto = kornia().auto
    from kornia.augmentation.auto.rand_augment.rand_augment import default_policy

    policy = [one for one in default_policy if coloured or one[0][0] != "color"]
    return auto.RandAugment(n=settings.count, m=settings.magnitude, policy=policy)
