"""SNFS, sparse networks from scratch: momentum says which layers grow, and where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.prune.regrow.least import least
from flyweight.compress.prune.regrow.rule import Layer, decayed
from flyweight.compress.prune.regrow.settings import check_settings
from flyweight.compress.prune.regrow.shared_out import shared_out


@dataclass(frozen=True)
class snfs:
    """Every ``every`` steps each layer drops its live units of least |w|; what was dropped grows where momentum is.

    A layer drops ⌈α_t · live⌉, with α_t = ``fraction``/2 · (1 + cos(π t / T_end)) and T_end the fraction ``until`` of
    all steps, but never its last unit. Of all that was dropped, its share is that of its mean |m| over live units
    (before the drop) in the sum over layers; what has no room in a layer goes to the others in equal parts. In a layer
    those grow that have the greatest |m| among all that are not live after the drop. m is the exponential mean of the
    dense gradient with the factor ``momentum``, kept here, whatever the optimizer. The number of live units of all
    layers together stays, and shares are rounded so that it does. The paper does it at the end of every epoch;
    ``every`` counts optimizer steps.
    Source: Dettmers and Zettlemoyer 2019, arXiv 1907.04840, algorithm 1 (prune rate 0.5, cosine-decayed).
    """

    every: int = 100
    fraction: float = 0.5
    until: float = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_settings(self, fraction=(0.0, 1.0), momentum=(0.0, 1.0))

    @property
    def memory(self) -> float:
        """The factor of the exponential mean that it asks for."""
        return self.momentum

    def __call__(self, layers: Sequence[Layer], done: float, generator: torch.Generator) -> list[Tensor]:
        rate = decayed(self.fraction, done)
        means = [float(layer.gradient[layer.live].mean()) if layer.live.any() else 0.0 for layer in layers]
        stays = []
        for layer in layers:
            live = int(layer.live.sum())
            count = min(math.ceil(rate * live), max(0, live - 1))
            stays.append(layer.live & ~least(layer.weight.abs(), layer.live, count))
        dropped = sum(int((layer.live & ~kept).sum()) for layer, kept in zip(layers, stays, strict=True))
        grown = shared_out(dropped, means, [int((~kept).sum()) for kept in stays])
        return [
            kept | least(-layer.gradient, ~kept, count) for layer, kept, count in zip(layers, stays, grown, strict=True)
        ]
