"""U-Net: an encoder and a decoder that reads the encoder's maps, for one class a pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import ShapeError
from flyweight.models.he_normal import he_normal_
from flyweight.models.scaled import scaled


class UNet(nn.Module):
    """What :func:`unet` makes."""

    def __init__(self, stages: tuple[int, ...], classes: int, channels: int, norm: bool) -> None:
        super().__init__()
        pairs = list(zip((channels, *stages), stages, strict=False))
        self.down = nn.ModuleList(_twice(inputs, outputs, norm) for inputs, outputs in pairs)
        back = [(stages[i + 1], stages[i]) for i in reversed(range(len(stages) - 1))]
        self.grow = nn.ModuleList(nn.ConvTranspose2d(inputs, outputs, 2, stride=2) for inputs, outputs in back)
        self.up = nn.ModuleList(_twice(2 * outputs, outputs, norm) for _, outputs in back)
        self.head = nn.Conv2d(stages[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, channels, H, W)`` to logits of each pixel ``(N, classes, H, W)``."""
        kept = []
        for level, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        kept.pop()
        for grow, up in zip(self.grow, self.up, strict=True):
            x = up(torch.cat([kept.pop(), grow(x)], 1))
        return self.head(x)  # type: ignore[no-any-return]


def _twice(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count in (inputs, outputs):
        layers.append(nn.Conv2d(count, outputs, 3, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if norm else [nn.ReLU()]
    return nn.Sequential(*layers)


def unet(depth: int = 4, width: float = 1.0, classes: int = 2, channels: int = 1, norm: bool = True) -> UNet:
    """U-Net with ``depth`` halvings: two 3×3 convolutions a level, of 64, 128, 256, … channels, down and up again.

    The decoder doubles its map by a 2×2 transposed convolution and reads the encoder's of the same size beside it;
    ``width`` scales all levels. Inputs ``(N, channels, H, W)`` with H and W multiples of 2^``depth``; outputs
    ``(N, classes, H, W)``, the logits of each pixel. Two things differ from the paper: convolutions are padded, so that
    the output is as large as the input, and batch-norm follows each of them, unless ``norm`` is False.
    Raises :class:`ShapeError` for a depth below 1, or a width that is not above 0.
    Source: Ronneberger, Fischer and Brox 2015, arXiv 1505.04597, figure 1.
    """
    if depth < 1:
        raise ShapeError(f"ShapeError: a U-Net cannot have {depth} halvings. Give a depth of 1 or more.")
    model = UNet(tuple(scaled(64 * 2**level, width) for level in range(depth + 1)), classes, channels, norm)
    he_normal_(model)
    return model
