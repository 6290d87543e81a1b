"""torch's multi-head attention with fewer heads than its embedding would have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.chain import attach, detach, links
from flyweight.surgery.couple.narrow import Dropped
from flyweight.surgery.coupling import Group


class HeadedAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` with ``num_heads · head_dim`` of its own, which torch holds to be ``embed_dim``.

    Parameters have torch's names and layout: ``in_proj_weight`` is (3 · num_heads · head_dim, embed_dim), or there are
    ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight``; ``out_proj`` reads num_heads · head_dim. It computes
    softmax(q·kᵀ/√head_dim + mask)·v, as torch does. It is made out of an ``nn.MultiheadAttention`` by
    :func:`free_heads_`.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.MultiheadAttention``; ``is_causal`` is a hint there, and needs ``attn_mask`` here too."""
        batched = query.dim() == 3
        inputs = [t if batched else t.unsqueeze(0) for t in (query, key, value)]
        if batched and not self.batch_first:
            inputs = [t.transpose(0, 1) for t in inputs]
        q, k, v = (self._split(F.linear(t, *pair)) for t, pair in zip(inputs, self._projections(), strict=True))
        bias = self._bias(attn_mask, key_padding_mask, q)
        weights: Tensor | None = None
        if need_weights:
            scores = q @ k.transpose(-1, -2) / self.head_dim**0.5
            weights = (scores if bias is None else scores + bias).softmax(-1)
            weights = F.dropout(weights, self.dropout, self.training)
            out = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if batched else weights.squeeze(0)
        else:
            out = F.scaled_dot_product_attention(q, k, v, bias, self.dropout if self.training else 0.0)
        out = F.linear(out.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias)
        if not batched:
            out = out.squeeze(0)
        elif not self.batch_first:
            out = out.transpose(0, 1)
        return out, weights

    def _projections(self) -> list[tuple[Tensor, Tensor | None]]:
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        if self.in_proj_weight is not None:
            weights = list(self.in_proj_weight.chunk(3))
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        return list(zip(weights, biases, strict=True))

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.num_heads, self.head_dim).transpose(1, 2)

    def _bias(self, mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        bias = None if mask is None else _additive(mask, q)
        if bias is not None and bias.dim() == 3:
            bias = bias.reshape(-1, self.num_heads, *bias.shape[1:])
        if padding is None:
            return bias
        hidden = _additive(padding, q)
        hidden = (hidden if padding.dim() == 2 else hidden.unsqueeze(0))[:, None, None]
        return hidden if bias is None else bias + hidden


def free_heads_(model: nn.Module, groups: Iterable[Group], dropped: Dropped) -> None:
    """Makes each ``nn.MultiheadAttention`` that loses heads a :class:`HeadedAttention`, and sets its number of heads.

    Its outputs are the same. Raises :class:`UnsupportedError` where it has biases of keys and values, or a zero of its
    own.
    """
    for group in groups:
        if group.kind != "head" or not bool(dropped[group.label].any()):
            continue
        owners = {at.name.removesuffix(".out_proj.weight") for at in group.slices if at.role == "input"}
        for name in sorted(owners):
            try:
                module = model.get_submodule(name)
            except AttributeError:
                continue
            if isinstance(module, nn.MultiheadAttention):
                _free(module, name)
                module.num_heads -= int(dropped[group.label].sum())


def _free(module: nn.MultiheadAttention, name: str) -> None:
    if isinstance(module, HeadedAttention):
        return
    if module.bias_k is not None or module.add_zero_attn:
        raise UnsupportedError(
            f"UnsupportedError: heads of {name!r} cannot be removed, for it has add_bias_kv or add_zero_attn. "
            "Exclude the layer."
        )
    chains: dict[str, list[Any]] = {}
    if parametrize.is_parametrized(module):
        for parameter in list(module.parametrizations):  # type: ignore[arg-type]
            chains[parameter] = list(links(module, parameter))
            for link in chains[parameter]:
                detach(module, link, parameter)
    module.__class__ = HeadedAttention
    # torch's fast path for encoder layers reads the embedding's size, and asks this flag first.
    module._qkv_same_embed_dim = False
    for parameter, chain in chains.items():
        for link in chain:
            attach(module, link, parameter)


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
