"""A link that multiplies each output channel: batch-norm folded into a weight that has a chain, or learns."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from flyweight.surgery.chain import RESCALE, Link
from flyweight.surgery.stored import Dense, StoredForm


class Rescale(Link):
    """w′ = w · f, where f, one factor an output channel, is a fixed tensor or asked for anew each time."""

    factor: Tensor

    stage = RESCALE

    def __init__(self, factor: Tensor | Callable[[], Tensor]) -> None:
        super().__init__()
        self._live = None if isinstance(factor, Tensor) else factor
        if isinstance(factor, Tensor):
            self.register_buffer("factor", factor.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """``weight`` with its output channels multiplied."""
        factor = self.factor if self._live is None else self._live()
        return weight * factor.reshape(-1, *(1,) * (weight.dim() - 1))

    def stored(self, weight: Tensor) -> StoredForm:
        """The product, dense."""
        return Dense(self.forward(weight).detach())

    def narrow(self, kept: dict[int, Tensor]) -> None:
        """Drops the factors of the output channels that the weight loses; a live factor follows by itself."""
        if self._live is None and 0 in kept:
            self.factor = self.factor.index_select(0, kept[0].to(self.factor.device))
