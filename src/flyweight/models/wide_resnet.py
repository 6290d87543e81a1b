"""The wide residual networks, WRN-d-k: few layers, many channels, normalised before each convolution."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import ShapeError
from flyweight.models.he_normal import he_normal_
from flyweight.models.scaled import scaled


class WideResNet(nn.Module):
    """What :func:`wide_resnet` makes: a stem, three stages of pre-activation blocks, pooling, a classifier."""

    def __init__(self, blocks: int, stages: tuple[int, ...], classes: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        inputs, layers = 16, []
        for number, outputs in enumerate(stages):
            for place in range(blocks):
                layers.append(_Block(inputs, outputs, 2 if number and not place else 1, dropout))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, channels, H, W)`` to logits ``(N, classes)``."""
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.projection: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        # A projection reads what is normalised already; an identity must not, or the sum would lose its clear path.
        kept = x if self.projection is None else self.projection(active)
        return kept + self.conv2(self.dropout(F.relu(self.norm2(self.conv1(active)))))  # type: ignore[no-any-return]


def wide_resnet(
    depth: int = 22, widen: float = 2, classes: int = 10, channels: int = 1, dropout: float = 0.0
) -> WideResNet:
    """WRN-``depth``-``widen`` for images of about 32×32 (any size from 4×4), in stages of 16k, 32k, 64k channels.

    ``depth`` is 6n + 4: n blocks BN → ReLU → 3×3 → BN → ReLU → dropout → 3×3 in each stage, the stem (16 channels
    whatever k is), and three 1×1 projections where the shape changes. ``widen`` is the paper's k and may be a fraction;
    ``dropout`` is the share dropped between a block's convolutions (the paper: 0, or 0.3). Inputs
    ``(N, channels, H, W)``, outputs ``(N, classes)``; the second and the third stage halve the image.
    Raises :class:`ShapeError` for another depth, or a ``widen`` that is not above 0.
    Source: Zagoruyko and Komodakis 2016, arXiv 1605.07146, table 1.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ShapeError(
            f"ShapeError: there is no WRN-{depth}: the depth is 6n + 4. "
            f"The nearest is {6 * max(1, round((depth - 4) / 6)) + 4}."
        )
    stages = tuple(scaled(count, widen) for count in (16, 32, 64))
    model = WideResNet(blocks, stages, classes, channels, dropout)
    he_normal_(model)
    return model
