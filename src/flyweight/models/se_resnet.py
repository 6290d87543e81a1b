"""SE-ResNet for small images: residual blocks whose channels are weighed before they are added."""

from __future__ import annotations

from flyweight.core.errors import ShapeError
from flyweight.models.resnet import ResNet, resnet
from flyweight.models.squeeze_excite import SqueezeExcite


def se_resnet(depth: int = 20, width: float = 1.0, classes: int = 10, channels: int = 1, reduction: int = 16) -> ResNet:
    """SE-ResNet-``depth``: :func:`~flyweight.models.resnet.resnet` with squeeze and excitation on each block's F(x).

    y = ReLU(F(x) · s(F(x)) + S(x)), where s weighs channels through ``channels / reduction`` neurons (never under 1).
    It adds (2 / r) Σ C² parameters over its blocks of C channels. Inputs, outputs, depth and width are ResNet's.
    Raises :class:`ShapeError` for a depth that is not 6n + 2, or a width or a reduction that is not above 0.
    Source: Hu, Shen, Albanie, Sun and Wu 2018, arXiv 1709.01507, figure 3 and eq. 5.
    """
    if reduction < 1:
        raise ShapeError(f"ShapeError: channels cannot be reduced {reduction} times. Give a reduction of 1 or more.")
    return resnet(depth, width, classes, channels, gate=lambda count: SqueezeExcite(count, reduction))
