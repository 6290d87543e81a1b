"""Group lasso: a price on whole channels, columns or blocks, so that they go together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.compress.sparsify.grouping import Grouping, outputs
from flyweight.compress.sparsify.penalized import check_strength
from flyweight.compress.sparsify.targets import branches, effective, layers
from flyweight.learn.context import Context


@dataclass(frozen=True)
class group_lasso:
    """``strength · Σ_g √|g| · ‖w_g‖₂`` over the groups of the weights of linear and convolutional layers.

    ``over`` says what a group is: ``outputs()``, ``inputs()``, or ``tiles(R, C)`` (``elements()`` makes it ``l1``).
    |g| is the group's own size, also where the weight's edge cuts it short. Masked elements count as zeros; the
    subgradient of a group that is all zero is 0. Biases and batch-norm are spared, the first layer is not, but for
    ``exclude``; what ``l1`` says of a batch-norm that follows holds for ``outputs()``: there take ``slimming``.
    Raises :class:`UnsupportedError` where there is no weight.
    Source: Yuan and Lin, 2006; Wen, Wu, Wang, Chen and Li, 2016, arXiv:1608.03665, eq. 3.
    """

    strength: float = 1e-5
    over: Grouping = outputs()  # noqa: RUF009 (frozen)
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_strength("group_lasso", self.strength)

    def __call__(self, model: nn.Module, context: Context) -> Tensor:
        sums = []
        for _, layer in layers(model, self.exclude, "group_lasso"):
            weight = effective(layer)
            norms = torch.linalg.vector_norm(self.over.rows(weight, branches(layer)), dim=1)
            with torch.no_grad():
                sizes = self.over.sizes(weight, branches(layer))
            sums.append((sizes.sqrt() * norms).sum())
        return self.strength * torch.stack(sums).sum()
