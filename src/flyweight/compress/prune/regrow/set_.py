"""SET: drop the weights nearest zero of either sign, grow at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.prune.regrow.least import least
from flyweight.compress.prune.regrow.rule import Layer
from flyweight.compress.prune.regrow.settings import check_settings


@dataclass(frozen=True)
class set_:
    """Every ``every`` steps each layer drops the ``fraction`` of its least positive and of its greatest negative units.

    As many grow at random among all that are not live then. The paper does it at the end of every epoch but the last;
    ``every`` counts optimizer steps, and ``until`` is the part of training in which it is done. Units of exactly zero
    count as positive. The number of live units of each layer stays.
    Source: Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3, arXiv 1707.04780, algorithm 1 (ζ = 0.3).
    """

    every: int = 100
    fraction: float = 0.3
    until: float = 1.0

    memory = None

    def __post_init__(self) -> None:
        check_settings(self, fraction=(0.0, 1.0))

    def __call__(self, layers: Sequence[Layer], done: float, generator: torch.Generator) -> list[Tensor]:
        kept = []
        for layer in layers:
            stays, before = layer.live, int(layer.live.sum())
            for side in (layer.live & (layer.weight >= 0), layer.live & (layer.weight < 0)):
                stays = stays & ~least(layer.weight.abs(), side, int(self.fraction * int(side.sum())))
            drawn = torch.rand(len(stays), generator=generator).to(stays.device)
            kept.append(stays | least(drawn, ~stays, before - int(stays.sum())))
        return kept
