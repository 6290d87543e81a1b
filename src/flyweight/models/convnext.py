"""ConvNeXt: depthwise 7×7 convolutions and pointwise pairs, normalised by layer, as wide and as deep as asked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flyweight.core.errors import ShapeError
from flyweight.models.drop_path import DropPath
from flyweight.models.scaled import scaled
from flyweight.models.truncated_normal import truncated_normal_


class ConvNeXt(nn.Module):
    """What :func:`convnext` makes: patches, stages with halvings between, global average pooling, a classifier."""

    def __init__(
        self, stages: Sequence[int], depths: Sequence[int], classes: int, channels: int, patch: int, drop_path: float
    ) -> None:
        super().__init__()
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        layers: list[nn.Module] = [nn.Conv2d(channels, stages[0], patch, patch), _NormChannels(stages[0])]
        for place, (count, depth) in enumerate(zip(stages, depths, strict=True)):
            if place:
                layers += [_NormChannels(stages[place - 1]), nn.Conv2d(stages[place - 1], count, 2, 2)]
            layers += [_Block(count, rates.pop(0)) for _ in range(depth)]
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(stages[-1], eps=1e-6)
        self.head = nn.Linear(stages[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, channels, H, W)`` to logits ``(N, classes)``."""
        return self.head(self.norm(self.blocks(x).mean((2, 3))))  # type: ignore[no-any-return]


class _NormChannels(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.gelu = nn.GELU()
        self.project = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 1e-6))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        # Pointwise convolutions are linear layers while channels stand last, and so is the norm.
        branch = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        branch = self.scale * self.project(self.gelu(self.expand(branch)))
        return x + self.drop_path(branch.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def convnext(
    width: float = 1.0,
    depths: tuple[int, ...] = (3, 3, 9, 3),
    classes: int = 1000,
    channels: int = 3,
    patch: int = 4,
    drop_path: float = 0.0,
) -> ConvNeXt:
    """ConvNeXt with ``depths`` blocks in stages of 96w, 192w, 384w, … channels; ConvNeXt-T at the defaults.

    x ↦ x + γ ⊙ W₂ GELU(W₁ LN(depthwise 7×7 x)) with 4 times the channels between; γ, the layer scale, starts at
    1e-6. ``width`` w is 4/3 for B, 2 for L; S, B and L have depths (3, 3, 27, 3). ``patch`` is the stem's kernel and
    stride (1 or 2 for images of 32×32); each further stage halves the image. ``drop_path`` is how often the last
    block's branch is left out in training, rising from 0 at the first. Inputs ``(N, channels, H, W)``, outputs
    ``(N, classes)``. Raises :class:`ShapeError` for a width that is not above 0, or a stage without blocks.
    Source: Liu, Mao, Wu, Feichtenhofer, Darrell and Xie 2022, arXiv 2201.03545, figure 4 and appendix A.
    """
    if not depths or min(depths) < 1:
        raise ShapeError(f"ShapeError: ConvNeXt cannot have depths={depths}. Give each stage a block at least.")
    stages = [scaled(96 * 2**place, width) for place in range(len(depths))]
    model = ConvNeXt(stages, depths, classes, channels, patch, drop_path)
    truncated_normal_(model)
    return model
