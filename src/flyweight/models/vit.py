"""The vision transformer: an image as a sequence of patches, as wide and as deep as asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.core.errors import ShapeError
from flyweight.models.scaled import scaled
from flyweight.models.truncated_normal import truncated_normal_


class VisionTransformer(nn.Module):
    """What :func:`vit` makes."""

    def __init__(self, patches: nn.Conv2d, count: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        dim = patches.out_channels
        self.patches = patches
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, count + 1, dim))
        self.blocks = nn.Sequential(*(_Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, channels, size, size)`` to logits ``(N, classes)``."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = _Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, 4 * dim)
        self.gelu = nn.GELU()
        self.project = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.project(self.gelu(self.expand(self.norm2(x))))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.each = dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        # How many heads there are is left open (-1): a network that lost some computes by the same code.
        query, key, value = self.qkv(x).unflatten(2, (3, -1, self.each)).permute(2, 0, 3, 1, 4).unbind(0)
        share = torch.softmax(query @ key.transpose(2, 3) * self.each**-0.5, -1)
        return self.project((share @ value).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def vit(
    width: float = 1.0,
    depth: int = 12,
    heads: int = 3,
    classes: int = 1000,
    channels: int = 3,
    size: int = 224,
    patch: int = 16,
) -> VisionTransformer:
    """A vision transformer of ``depth`` blocks over 192 · ``width`` numbers a patch: DeiT-tiny at the defaults.

    x ↦ x + A(LN(x)), then x ↦ x + W₂ GELU(W₁ LN(x)) with 4 times the numbers between; A is attention with one fused
    projection to queries, keys and values, split into ``heads``. A class token and learned positions come in before,
    the class token goes to the classifier. DeiT-S is ``width=2, heads=6``, ViT-B/16 ``width=4, heads=12``. Inputs
    ``(N, channels, size, size)``, read in patches of ``patch`` × ``patch``; outputs ``(N, classes)``.
    Raises :class:`ShapeError` for a width not above 0, no block, no head, or patches that do not fill the image.
    Source: Dosovitskiy et al. 2020, arXiv 2010.11929; Touvron et al. 2021, arXiv 2012.12877, table 1.
    """
    if depth < 1 or heads < 1:
        raise ShapeError(f"ShapeError: ViT cannot have {depth} blocks of {heads} heads. Give one of each at least.")
    if min(size, patch) < 1 or size % patch:
        fitting = ", ".join(str(n) for n in range(2, max(2, size)) if size % n == 0)
        raise ShapeError(
            f"ShapeError: patches of {patch}×{patch} do not fill images of {size}×{size}. "
            f"Choose a patch that divides {size}{f' ({fitting})' if fitting else ''}."
        )
    patches = nn.Conv2d(channels, scaled(192, width, heads), patch, patch)
    model = VisionTransformer(patches, (size // patch) ** 2, depth, heads, classes)
    truncated_normal_(model)
    for drawn in (model.token, model.positions):
        nn.init.trunc_normal_(drawn, std=0.02)
    return model
