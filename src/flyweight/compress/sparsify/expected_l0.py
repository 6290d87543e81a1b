"""The price of open gates: the expected number of groups that are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.compress.sparsify.gate import Gate
from flyweight.compress.sparsify.penalized import check_strength
from flyweight.core.errors import UnsupportedError
from flyweight.learn.context import Context
from flyweight.numerics.hard_concrete import probability_open


@dataclass(frozen=True)
class expected_l0:
    """``strength · Σ P(z ≠ 0)``, with ``P(z ≠ 0) = σ(log α − β·log(−γ/ζ))``, over all gates of :class:`L0Gates`.

    Every gate costs the same, whatever it gates: a neuron of ten weights as much as one of a thousand.
    Raises :class:`UnsupportedError` for a model without gates.
    Source: Louizos, Welling and Kingma, 2018, arXiv:1712.01312, eq. 12.
    """

    strength: float = 1e-3

    def __post_init__(self) -> None:
        check_strength("expected_l0", self.strength)

    def __call__(self, model: nn.Module, context: Context) -> Tensor:
        gates = [module.log_alpha for module in model.modules() if isinstance(module, Gate)]
        if not gates:
            raise UnsupportedError(
                f"UnsupportedError: expected_l0 prices gates, and {type(model).__name__} has none. Put L0Gates() "
                "before this training, and Settle() after it."
            )
        return self.strength * probability_open(torch.cat(gates)).sum()
