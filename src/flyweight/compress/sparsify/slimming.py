"""Network slimming: a price on batch-norm scales, each of which stands for a channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.compress.sparsify.penalized import check_strength
from flyweight.compress.sparsify.targets import effective
from flyweight.core.errors import UnsupportedError
from flyweight.learn.context import Context
from flyweight.surgery.walk import walk


@dataclass(frozen=True)
class slimming:
    """``strength · Σ|γ|`` over the scales γ of all batch-norms: their gradient grows by ``strength · sign(γ)``.

    Prune(score=norm_scale(), structure=channel(), distribution=global_()) then takes the channels whose γ came out
    small. The paper takes 1e-4 for VGG and 1e-5 for ResNets, with SGD; our optimizers do not decay γ, so that the
    penalty alone pulls it. The subgradient at 0 is 0. ``exclude`` are globs of module names.
    Raises :class:`UnsupportedError` where no batch-norm has a scale.
    Source: Liu, Li, Shen, Huang, Yan and Zhang, 2017, arXiv:1708.06519, eq. 1.
    """

    strength: float = 1e-4
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_strength("slimming", self.strength)

    def __call__(self, model: nn.Module, context: Context) -> Tensor:
        norms = (norm for _, norm in walk(model, (nn.modules.batchnorm._BatchNorm,), self.exclude))
        scales = [effective(norm) for norm in norms if norm.weight is not None]
        if not scales:
            left = f" outside exclude={self.exclude!r}" if self.exclude else ""
            raise UnsupportedError(
                f"UnsupportedError: slimming has nothing to act on in {type(model).__name__}{left}: no batch-norm with "
                "a scale. Use group_lasso(), which prices the channels' weights."
            )
        return self.strength * torch.cat(scales).abs().sum()
