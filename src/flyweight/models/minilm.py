"""MiniLM: a small BERT as a classifier of texts, by ``transformers``' own BERT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flyweight.core.errors import MissingExtraError, ShapeError


class MiniLM(nn.Module):
    """What :func:`minilm` makes: BERT's encoder, the mean over a text's tokens, dropout, a classifier."""

    def __init__(self, bert: nn.Module, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens and which of them are the text's (1, else 0), both ``(N, T)`` int64, to logits ``(N, classes)``."""
        real = attention_mask.to(self.head.weight.dtype)
        # The mask that is added to the attention's logits. BERT would make the same of attention_mask, but by code
        # that looks into the values, which no exporter can follow; one of four dimensions it takes as it is.
        added = (1 - real)[:, None, None, :] * torch.finfo(real.dtype).min
        states = self.bert(input_ids=input_ids, attention_mask=added).last_hidden_state
        weight = real.unsqueeze(-1)
        mean = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        return self.head(self.dropout(mean))  # type: ignore[no-any-return]


def minilm(
    classes: int = 2,
    layers: int = 6,
    hidden: int = 384,
    heads: int = 12,
    vocabulary: int = 30522,
    dropout: float = 0.1,
    attention: str = "eager",
) -> MiniLM:
    """BERT of ``layers`` blocks of ``hidden`` numbers a token, as a classifier; MiniLM-L6-H384 at the defaults.

    Inputs ``(input_ids, attention_mask)``, both ``(N, T)`` int64, T ≤ 512; outputs ``(N, classes)``, made of the mean
    of the last states over the tokens with mask 1. Each block has ``heads`` heads and 4 · ``hidden`` neurons;
    ``dropout`` acts on states, attention and before the classifier. ``attention`` is ``"eager"``, plain matrix
    products, or ``"sdpa"``, torch's fused kernel. The values are drawn as BERT's are, N(0, 0.02²);
    :func:`~flyweight.models.load_minilm_weights.load_minilm_weights` gives it those of all-MiniLM-L6-v2.
    Raises :class:`ShapeError` for no block, or heads that do not divide ``hidden``; :class:`MissingExtraError` where
    ``transformers`` is not installed.
    Source: Devlin, Chang, Lee and Toutanova 2019, arXiv 1810.04805; Wang, Wei, Dong, Bao, Yang and Zhou 2020, arXiv
    2002.10957; Reimers and Gurevych 2019, arXiv 1908.10084, the mean over tokens.
    """
    if layers < 1 or heads < 1 or hidden % heads:
        raise ShapeError(
            f"ShapeError: MiniLM cannot have {layers} layers of {hidden} numbers in {heads} heads. Give one layer at "
            "least, and a number of heads that divides hidden."
        )
    config, model = _transformers()
    settings = config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation=attention,
    )
    found = MiniLM(model(settings, add_pooling_layer=False), hidden, classes, dropout)
    nn.init.normal_(found.head.weight, std=0.02)
    nn.init.zeros_(found.head.bias)
    return found


def _transformers() -> tuple[Any, Any]:
    try:
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise MissingExtraError(
            'MissingExtraError: MiniLM is built by transformers, which is not installed: pip install "flyweight[hf]".'
        ) from error
    return BertConfig, BertModel
