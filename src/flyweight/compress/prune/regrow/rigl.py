"""RigL: drop the least weights, grow where the gradient is greatest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.prune.regrow.least import least
from flyweight.compress.prune.regrow.rule import Layer, decayed
from flyweight.compress.prune.regrow.settings import check_settings


@dataclass(frozen=True)
class rigl:
    """Every ``every`` steps each layer drops the α_t of its live units of least |w|, and grows as many elsewhere.

    α_t = ``fraction``/2 · (1 + cos(π t / T_end)), rounded down to whole units, with T_end the fraction ``until`` of
    all steps. Those grow that have the greatest |∂L/∂w| among all that are not live after the drop: the dropped ones
    compete, and one that wins was never away, so it keeps its value. The number of live units of each layer stays.
    Source: Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, algorithm 1 (ΔT = 100, α = 0.3, T_end = ¾).
    """

    every: int = 100
    fraction: float = 0.3
    until: float = 0.75

    memory = 0.0

    def __post_init__(self) -> None:
        check_settings(self, fraction=(0.0, 1.0))

    def __call__(self, layers: Sequence[Layer], done: float, generator: torch.Generator) -> list[Tensor]:
        share = decayed(self.fraction, done)
        kept = []
        for layer in layers:
            count = int(share * int(layer.live.sum()))
            stays = layer.live & ~least(layer.weight.abs(), layer.live, count)
            kept.append(stays | least(-layer.gradient, ~stays, count))
        return kept
