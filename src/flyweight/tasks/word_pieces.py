"""Texts as the numbers of their word pieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flyweight.core.errors import MissingExtraError, TaskError

_AT_ONCE = 2048


def word_pieces(texts: Sequence[str], tokenizer: Path, length: int = 128) -> tuple[Tensor, Tensor]:
    """``(ids, mask)``, both ``(texts, length)`` int64: [CLS], pieces, [SEP], cut at ``length`` or filled with 0.

    ``tokenizer`` is a ``tokenizer.json``; the mask is 1 where there is text. Raises :class:`TaskError` for a length
    below 3, :class:`MissingExtraError` where the library ``tokenizers`` is not installed.
    Source: Wu et al. 2016, arXiv 1609.08144, section 4.1, as in BERT.
    """
    if length < 3:
        raise TaskError(f"TaskError: a text of {length} pieces has no room for one between [CLS] and [SEP]. Give more.")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError(
            'MissingExtraError: texts are cut by tokenizers, which is not installed: pip install "flyweight[text]".'
        ) from error
    cut = Tokenizer.from_file(str(tokenizer))
    cut.enable_truncation(length)
    cut.enable_padding(length=length, pad_id=0)
    ids = np.empty((len(texts), length), np.int64)
    mask = np.empty((len(texts), length), np.int64)
    for start in range(0, len(texts), _AT_ONCE):
        for place, found in enumerate(cut.encode_batch(list(texts[start : start + _AT_ONCE])), start):
            ids[place], mask[place] = found.ids, found.attention_mask
    return torch.from_numpy(ids), torch.from_numpy(mask)
