"""The pool of a model's whole layers, each behind a gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.surgery.skip import Skip


@dataclass(frozen=True, eq=False)
class Layers:
    """The layers behind ``skips``: one unit each. ``weights`` are those of each, (module, parameter's name, dotted)."""

    names: tuple[str, ...]
    skips: tuple[Skip, ...]
    weights: tuple[tuple[tuple[nn.Module, str, str], ...], ...]

    round_to = 1
    units = "layers"

    @property
    def name(self) -> str:
        """The first layer's dotted name."""
        return self.names[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the first weight."""
        return next(tuple(getattr(module, name).shape) for layer in self.weights for module, name, _ in layer)

    @property
    def parameters(self) -> Tensor:
        """How many parameters each layer has."""
        return torch.tensor([float(sum(p.numel() for p in skip.inner.parameters())) for skip in self.skips])

    @property
    def kept(self) -> Tensor:
        """Which layers are kept."""
        return torch.tensor([skip.kept for skip in self.skips])

    @property
    def gates(self) -> Sequence[nn.Module]:
        """The gates."""
        return self.skips

    def reads(self, kind: str) -> Sequence[tuple[nn.Module, str, str]]:
        """All weights of the layers that are kept: one that is passed by sees no inputs."""
        kept = [layer for skip, layer in zip(self.skips, self.weights, strict=True) if skip.kept]
        return [weight for layer in kept for weight in layer] if kind == "weight" else []

    def saliency(self, scores: Mapping[str, Tensor]) -> Tensor:
        """The sum over all weights of each layer; 0 of one that is passed by already."""
        sums = {name: float(score.double().sum()) for name, score in scores.items()}
        return torch.tensor([sum((sums.get(name, 0.0) for *_, name in layer), 0.0) for layer in self.weights])

    def write(self, keep: Tensor) -> None:
        """Sets the gates."""
        for skip, stays in zip(self.skips, keep.tolist(), strict=True):
            skip.set(stays)
