"""Larger layers are sparser: as many connections as a random graph would have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.prune.distributions.earliest import earliest
from flyweight.compress.prune.pool import Damage, Pool


@dataclass(frozen=True)
class erdos_renyi:
    """The density of each pool is ε·(n_in + n_out + k_h + k_w)/(n_in·n_out·k_h·k_w), at most 1, by its weight's shape.

    ε is that at which the fraction of parameters is met; pools at density 1 stay dense, and the rest makes up for it.
    Without ``kernel`` the factor is (n_in + n_out)/(n_in·n_out).
    Source: Mocanu et al. 2018 (SET), arXiv:1707.04780, eq. 3; with kernels Evci et al. 2020 (RigL), arXiv:1911.11134,
    section 3.
    """

    kernel: bool = True

    def __call__(
        self, pools: Sequence[Pool], saliency: Sequence[Tensor], ratio: float, damage: Damage | None
    ) -> list[float]:
        times = [self._times(pool, len(scores)) for pool, scores in zip(pools, saliency, strict=True)]
        return earliest(pools, saliency, ratio, times)

    def _times(self, pool: Pool, units: int) -> Tensor:
        """The j-th of n units goes when ε falls to (n − j − ½)/(n·raw): the density rounds to (n − j − 1)/n there."""
        shape = pool.shape if self.kernel else pool.shape[:2]
        raw = sum(shape) / max(1, math.prod(shape))
        return -(units - torch.arange(units, dtype=torch.float64) - 0.5) / (max(1, units) * (raw or 1.0))
