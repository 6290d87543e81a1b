"""The price of precise weights: what a posterior says that the prior does not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.compress.sparsify.noise import Noise
from flyweight.compress.sparsify.penalized import check_strength
from flyweight.compress.sparsify.targets import LAYERS, original
from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.learn.context import Context
from flyweight.numerics.variational import divergence
from flyweight.surgery.chain import links


@dataclass(frozen=True)
class variational_kl:
    """``strength · r · Σ KL(α) / N`` over the weights of :class:`VariationalDropout`, N the training examples.

    At ``strength=1`` and r = 1, with a loss that is a mean of negative log-likelihoods, this is the (negative) evidence
    lower bound per example. r rises from 0 to 1 over the first ``warmup`` of training (a fraction of its steps): with
    the full divergence from the start weights go before they could learn.
    Raises :class:`UnsupportedError` for a model without noise.
    Source: Molchanov, Ashukha and Vetrov, 2017, arXiv:1701.05369, eqs. 3 and 14; warm-up: Sønderby et al., 2016,
    arXiv:1602.02282.
    """

    strength: float = 1.0
    warmup: float = 0.5

    def __post_init__(self) -> None:
        check_strength("variational_kl", self.strength)
        if not 0 <= self.warmup <= 1:
            raise FlyweightError(
                f"FlyweightError: variational_kl got warmup={self.warmup!r}. Give a fraction of training, 0 to 1."
            )

    def __call__(self, model: nn.Module, context: Context) -> Tensor:
        sums = [
            divergence(link.log_alpha(original(layer))).sum()
            for layer in model.modules()
            if isinstance(layer, LAYERS)
            for link in links(layer)
            if isinstance(link, Noise)
        ]
        if not sums:
            raise UnsupportedError(
                f"UnsupportedError: variational_kl prices weights by their noise, and {type(model).__name__} has none. "
                "Put VariationalDropout() before this training, and Settle() after it."
            )
        rise = 1.0 if context.fraction >= self.warmup else context.fraction / self.warmup
        examples = len(context.task.data.train)  # type: ignore[arg-type]
        return self.strength * rise / examples * torch.stack(sums).sum()
