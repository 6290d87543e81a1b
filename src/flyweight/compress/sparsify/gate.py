"""The links that gate a weight: open, closed, or on the way, by a draw each time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.sparsify.grouping import Grouping
from flyweight.core.errors import UnsupportedError
from flyweight.numerics.hard_concrete import LIMIT, probability_open, sampled_gate, settled_gate
from flyweight.surgery.chain import GATE, Link
from flyweight.surgery.stored import Dense, StoredForm

_EDGE = 1e-6  # of the draws, so that their logit is finite


class Gate(Link):
    """ŵ = z ⊙ w with one hard-concrete gate z a group of ``grouping``; drawn anew at each use in training.

    log α = ``speed`` · theta is learnt, a vector of one value a group (and so not decayed by optimizers, whatever
    the weight's shape is); it starts at log((1 − droprate) / droprate). In evaluation z has no noise. Zeros of the
    evaluation are zeros for good to whoever stores the weight.
    """

    stage = GATE

    def __init__(self, weight: Tensor, grouping: Grouping, branches: int, droprate: float, speed: float) -> None:
        super().__init__()
        self.grouping, self.branches, self.speed = grouping, branches, speed
        count = len(grouping.rows(weight.detach(), branches))
        start = LIMIT if droprate == 0 else min(LIMIT, math.log((1 - droprate) / droprate))
        self.theta = nn.Parameter(torch.full((count,), start / speed, device=weight.device, dtype=weight.dtype))
        self.latest: Tensor | None = None  # the last draws, for what goes by the same gate

    @property
    def log_alpha(self) -> Tensor:
        """log α of each group."""
        return self.speed * self.theta

    def gates(self, again: bool = False) -> Tensor:
        """z of each group: with noise in training, with the last draws if ``again``."""
        if not self.training:
            return settled_gate(self.log_alpha)
        if not again or self.latest is None:
            self.latest = torch.rand_like(self.theta).clamp(_EDGE, 1 - _EDGE).detach()
        return sampled_gate(self.log_alpha, self.latest)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, gated."""
        return self._gated(weight, self.gates())

    def stored(self, weight: Tensor) -> StoredForm:
        """What evaluation computes with, zeros among it."""
        return Dense(self.settled(weight)[0])

    def openness(self, weight: Tensor) -> Tensor:
        """P(z ≠ 0), in the weight's shape."""
        return self._spread(weight, probability_open(self.log_alpha)).detach()

    def settled(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weight by gates without noise, and where they are not 0."""
        gates = settled_gate(self.log_alpha).detach()
        return self._gated(weight.detach(), gates), self._spread(weight, gates) > 0

    def narrow(self, kept: dict[int, Tensor]) -> None:
        """Raises :class:`UnsupportedError`: gates settle before units leave."""
        raise UnsupportedError(
            "UnsupportedError: a layer whose gates are still learnt cannot lose units. Put Settle() before Remove()."
        )

    def after_step(self, progress: Any) -> None:
        """Keeps log α within ±log 100, beyond which a gate would hardly learn any more."""
        with torch.no_grad():
            self.theta.clamp_(-LIMIT / self.speed, LIMIT / self.speed)

    def extra_repr(self) -> str:
        """How many gates are open in evaluation."""
        return f"{self.grouping}, open={int((settled_gate(self.log_alpha) > 0).sum())}/{len(self.theta)}"

    def _gated(self, weight: Tensor, gates: Tensor) -> Tensor:
        if weight.dim() == 1:
            return weight * gates
        rows = self.grouping.rows(weight, self.branches)
        return self.grouping.whole(rows * gates[:, None], weight, self.branches)

    def _spread(self, weight: Tensor, values: Tensor) -> Tensor:
        """``values``, one a group, in the weight's shape."""
        if weight.dim() == 1:
            return values
        rows = self.grouping.rows(torch.ones_like(weight), self.branches)
        return self.grouping.whole((rows * values[:, None]), weight, self.branches)


class GateAlong(Link):
    """The same gates on a vector that goes along: a bias, or a batch-norm's shift. It learns nothing of its own.

    It is used after ``gate`` in a forward pass, as torch's layers use their weight before their bias, and takes the
    draws that ``gate`` took.
    """

    stage = GATE

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = (gate,)  # in a tuple, for it is registered with the weight

    def forward(self, weight: Tensor) -> Tensor:
        """The vector, gated."""
        return weight * self._gate[0].gates(again=True)

    def stored(self, weight: Tensor) -> StoredForm:
        """What evaluation computes with."""
        return Dense(self.settled(weight)[0])

    def openness(self, weight: Tensor) -> Tensor:
        """P(z ≠ 0)."""
        return self._gate[0].openness(weight)

    def settled(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """As its gate."""
        return self._gate[0].settled(weight)

    def narrow(self, kept: dict[int, Tensor]) -> None:
        """As its gate."""
        self._gate[0].narrow(kept)
