"""The link that takes elements of a weight away, and hears their gradients where it is asked to."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flyweight.core.errors import ShapeError
from flyweight.surgery.chain import MASK, Link, attach, links
from flyweight.surgery.stored import Dense, StoredForm


class Mask(Link):
    """ŵ = w ⊙ keep, with ``keep`` bool in the weight's shape.

    The gradient of what is taken away is zero, so it stays as it is. While ``hears`` is set, each backward pass adds
    the *dense* gradient ∂L/∂ŵ, that of the zeros too, to ``heard``: what regrowth and first-order scores ask for.
    ``at`` is the weight ŵ of the last forward pass heard, for what needs both: an optimizer has changed it since.
    ``block`` is the tile (rows, columns) of the weight as a matrix ``(outputs, inputs · kernel)`` in which elements go.
    """

    stage = MASK
    keep: Tensor

    def __init__(self, keep: Tensor, block: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        if keep.dtype != torch.bool:
            raise ShapeError(f"ShapeError: a Mask keeps by bool, and got {keep.dtype}. Give keep.bool().")
        self.register_buffer("keep", keep.clone())
        self.block = block
        self.hears = False
        self.heard: Tensor | None = None
        self.at: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with zeros where it is not kept."""
        masked = torch.where(self.keep, weight, weight.new_zeros(()))
        if self.hears and masked.requires_grad:
            self.at = masked.detach()
            masked.register_hook(self._hear)  # type: ignore[no-untyped-call]
        return masked

    def stored(self, weight: Tensor) -> StoredForm:
        """The values, zeros among them; the chain says which need not be kept."""
        return Dense(self.forward(weight).detach())

    def zeros(self) -> tuple[Tensor, tuple[int, int]]:
        """What stays, and the tile."""
        return self.keep, self.block

    def narrow(self, kept: dict[int, Tensor]) -> None:
        """Drops the rows and columns that the weight loses."""
        for dim, index in kept.items():
            self.keep = self.keep.index_select(dim, index.to(self.keep.device))

    def take_heard(self) -> Tensor | None:
        """The dense gradients summed since the last call, or None; forgets them."""
        heard, self.heard = self.heard, None
        if not self.hears:
            self.at = None
        return heard

    def extra_repr(self) -> str:
        """How much is kept."""
        return f"kept={int(self.keep.sum())}/{self.keep.numel()}, block={self.block}"

    def _hear(self, gradient: Tensor) -> None:
        gradient = gradient.detach()
        self.heard = gradient.clone() if self.heard is None else self.heard + gradient


def mask_of(module: nn.Module, name: str = "weight", block: tuple[int, int] | None = None) -> Mask:
    """The mask on ``module``'s parameter ``name``; puts one there that keeps everything where there is none.

    With ``block``, a mask that stands there already is told in the greatest tile of which both its own and ``block``
    are made.
    """
    found = [link for link in links(module, name) if isinstance(link, Mask)]
    if found:
        mask = found[0]
        if block is not None and mask.block != block:
            mask.block = (math.gcd(mask.block[0], block[0]), math.gcd(mask.block[1], block[1]))
        return mask
    parameter: Tensor = getattr(module, name)
    mask = Mask(torch.ones_like(parameter, dtype=torch.bool), block or (1, 1))
    attach(module, mask, name)
    return mask
