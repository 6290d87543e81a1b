"""Windows of padded images: moving by whole pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from flyweight.core.errors import FlyweightError
from flyweight.learn.augment.images import check_images


@dataclass(frozen=True)
class crop:
    """Puts a border of ``padding`` zeros around each image ``(N, C, H, W)``, and takes a window of H×W out of that.

    Each of the (2 · ``padding`` + 1)² places is as likely, and drawn for each image by itself. So every image moves by
    up to ``padding`` whole pixels a way, and none is interpolated: what ``translate`` blurs stays sharp.
    Source: He, Zhang, Ren and Sun 2016, arXiv 1512.03385, section 4.2 (``padding`` 4 for 32×32).
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.padding, int) or isinstance(self.padding, bool) or self.padding < 0:
            raise FlyweightError(
                f"FlyweightError: crop got padding={self.padding!r}. Give a whole number of pixels, 0 or more."
            )

    def __call__(self, inputs: Tensor) -> Tensor:
        check_images("crop", inputs)
        if self.padding == 0:
            return inputs
        count, _, height, width = inputs.shape
        padded = F.pad(inputs, 4 * (self.padding,))
        # A view of every window, (N, C, places down, places across, H, W), of which only those drawn are copied.
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        top, left = torch.randint(0, 2 * self.padding + 1, (2, count), device=inputs.device)
        return windows[torch.arange(count, device=inputs.device), :, top, left]
