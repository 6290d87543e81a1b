"""The link of variational dropout, and the hook by which a layer draws its outputs."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import UnsupportedError
from flyweight.numerics.variational import log_alpha
from flyweight.surgery.chain import GATE, Link, links
from flyweight.surgery.stored import Dense, StoredForm

_LEAST = 1e-8  # of an output's variance, for the gradient of its root


class Noise(Link):
    """The variance σ² = exp(``speed`` · theta) of each weight; the weight itself passes as it is.

    A weight of log α = log σ² − log w² above ``cut`` is all noise, and goes when the link settles. theta is a vector,
    so that optimizers do not decay it. What draws is :class:`LocalNoise`.
    """

    stage = GATE

    def __init__(self, weight: Tensor, log_variance: float, cut: float, speed: float) -> None:
        super().__init__()
        self.cut, self.speed = cut, speed
        count, start = weight.numel(), log_variance / speed
        self.theta = nn.Parameter(torch.full((count,), start, device=weight.device, dtype=weight.dtype))

    def log_variance(self, weight: Tensor) -> Tensor:
        """log σ² in the weight's shape."""
        return (self.speed * self.theta).reshape(weight.shape)

    def log_alpha(self, weight: Tensor) -> Tensor:
        """log σ² − log w², clipped, in the weight's shape."""
        return log_alpha(self.log_variance(weight), weight)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight."""
        return weight

    def stored(self, weight: Tensor) -> StoredForm:
        """The weight."""
        return Dense(weight.detach())

    def openness(self, weight: Tensor) -> Tensor:
        """``1 / (1 + α) = w² / (w² + σ²)``: the part of the weight that is no noise."""
        return torch.sigmoid(-self.log_alpha(weight)).detach()

    def settled(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weight, and where log α is not above the cut."""
        keep = self.log_alpha(weight).detach() <= self.cut
        return weight.detach() * keep, keep

    def narrow(self, kept: dict[int, Tensor]) -> None:
        """Raises :class:`UnsupportedError`: noise settles before units leave."""
        raise UnsupportedError(
            "UnsupportedError: a layer whose noise is still learnt cannot lose units. Put Settle() before Remove()."
        )

    def extra_repr(self) -> str:
        """The cut."""
        return f"cut={self.cut:g}"


class LocalNoise:
    """A forward hook: in training, adds to a layer's output the noise that its weights' variance makes of it.

    ``y ~ N(layer(x; w), layer(x²; σ²))``, an own draw for each example and output (local reparametrisation). In
    evaluation it does nothing.
    """

    def __init__(self, noise: Noise) -> None:
        self.noise = noise

    def __call__(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if not layer.training or not inputs:
            return None
        weight = layer.parametrizations.weight.original
        variance = self.noise.log_variance(weight).exp()
        for link in links(layer):
            told = link.zeros()
            if told is not None:
                variance = torch.where(told[0], variance, variance.new_zeros(()))
        # Half precision has no number as small as the variances at the start, nor as large as squares may be.
        half = output.dtype == torch.float16
        with torch.autocast(output.device.type, enabled=False) if half else contextlib.nullcontext():
            x, variance = (inputs[0].float(), variance.float()) if half else (inputs[0], variance)
            if isinstance(layer, nn.Linear):
                spread = F.linear(x * x, variance)
            else:
                spread = layer._conv_forward(x * x, variance, None)
            deviation = (spread.clamp_min(0) + _LEAST).sqrt()
        return output + deviation.to(output.dtype) * torch.randn_like(output)


def hush(layer: nn.Module) -> None:
    """Takes :class:`LocalNoise` off ``layer``."""
    for key, hook in list(layer._forward_hooks.items()):
        if isinstance(hook, LocalNoise):
            del layer._forward_hooks[key]
