"""The residual networks for small images: ResNet-20, -32, -44, -56, -110, as wide as asked."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import ShapeError
from flyweight.models.he_normal import he_normal_
from flyweight.models.scaled import scaled

Gate = Callable[[int], nn.Module]
"""From a count of channels to what acts on a block's branch before it is added."""


class ResNet(nn.Module):
    """What :func:`resnet` makes: a stem, three stages of basic blocks, global average pooling, a classifier."""

    def __init__(self, blocks: int, stages: tuple[int, ...], classes: int, channels: int, gate: Gate) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, stages[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(stages[0])
        inputs, layers = stages[0], []
        for number, outputs in enumerate(stages):
            for place in range(blocks):
                layers.append(_Block(inputs, outputs, 2 if number and not place else 1, gate))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, channels, H, W)`` to logits ``(N, classes)``."""
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, gate: Gate) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.gate = gate(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.gate(self.norm2(self.conv2(out))) + self.shortcut(x))


def resnet(
    depth: int = 20, width: float = 1.0, classes: int = 10, channels: int = 1, gate: Gate = nn.Identity
) -> ResNet:
    """ResNet-``depth`` for images of about 32×32 (any size from 4×4): y = ReLU(F(x) + S(x)), in stages of 16, 32, 64.

    ``depth`` is 6n + 2: n basic blocks of two 3×3 convolutions in each stage, the stem and the classifier; ``width``
    scales all stages; ``gate`` makes what acts on F(x), such as squeeze and excitation. Inputs ``(N, channels, H, W)``,
    outputs ``(N, classes)``; the second and the third stage halve the image. Where a block changes shape, the shortcut
    S is a 1×1 convolution with batch-norm, the paper's option B. (Its CIFAR networks have option A, which skips pixels
    and pads channels with zeros: 2,752 parameters fewer at width 1. Padding ties a channel to its *place*, so no
    channel of a stage could be removed alone.)
    Raises :class:`ShapeError` for another depth, or a width that is not above 0.
    Source: He, Zhang, Ren and Sun 2016, arXiv 1512.03385, section 4.2.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ShapeError(
            f"ShapeError: there is no ResNet-{depth} for small images: the depth is 6n + 2. "
            f"The nearest is {6 * max(1, round((depth - 2) / 6)) + 2}."
        )
    stages = tuple(scaled(count, width) for count in (16, 32, 64))
    model = ResNet(blocks, stages, classes, channels, gate)
    he_normal_(model)
    return model
