"""Reviews of a few words, the files that MiniLM comes in, as small as can be, and a task of whole-number inputs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from flyweight.core.task import Splits, Task
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy

WORDS = ["a", "film", "of", "good", "bad", "taste", "##less", "##ful", "and", "love", "##ly", "hate", ".", "great"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
SMALL = {"layers": 2, "hidden": 24, "heads": 3, "vocabulary": len(VOCABULARY)}


def small_minilm(classes: int = 2, **more: object) -> nn.Module:
    """A MiniLM of two blocks of 24 numbers."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    from flyweight.models.minilm import minilm

    return minilm(classes, **{**SMALL, **more}).eval()


def write_tokenizer(folder: Path) -> Path:
    """A ``tokenizer.json`` of BERT's make that knows ``WORDS``."""
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from tokenizers import BertWordPieceTokenizer

    path = folder / "tokenizer.json"
    BertWordPieceTokenizer(vocab={word: n for n, word in enumerate(VOCABULARY)}, lowercase=True).save(str(path))
    return path


def write_minilm(folder: Path, model: nn.Module) -> Path:
    """What the package of MiniLM holds: values, a pooler's among them, and a tokenizer."""
    from safetensors.torch import save_file

    values = {name: value.contiguous() for name, value in model.bert.state_dict().items()}
    values |= {"pooler.dense.bias": torch.zeros(3), "embeddings.position_ids": torch.arange(512)[None]}
    save_file(values, folder / "model.safetensors")
    write_tokenizer(folder)
    return folder


def write_reviews(path: Path, rows: list[tuple[str, int]]) -> Path:
    """A CSV file of the package's columns."""
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["text", "label", "source"])
        writer.writerows([text, label, "imdb"] for text, label in rows)
    return path


def token_task(model: nn.Module | None = None, count: int = 96, length: int = 12) -> Task:
    """Random pieces, of which more than by chance are the class's own; some texts are shorter than others."""
    random = torch.Generator().manual_seed(3)
    labels = torch.arange(count) % 2
    ids = torch.randint(4, 18, (count, length), generator=random)
    told = torch.rand(count, length, generator=random) < 0.4
    ids = torch.where(told, 7 + labels[:, None], ids)
    lengths = torch.randint(length // 2, length + 1, (count, 1), generator=random)
    mask = (torch.arange(length)[None] < lengths).long()
    data = TensorDataset(ids * mask, mask, labels)
    return Task(
        name="tiny-tokens",
        model=small_minilm() if model is None else model,
        example=tuple(t[:2] for t in data.tensors[:2]),
        data=Splits(train=data, calibrate=data, select=data, report=data),
        loss=cross_entropy,
        quality=accuracy,
    )
