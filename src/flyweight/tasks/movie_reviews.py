"""Film reviews, good or bad: texts for a small BERT with real values."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from flyweight.core.errors import TaskError
from flyweight.core.task import Splits, Task
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.models.load_minilm_weights import load_minilm_weights
from flyweight.models.minilm import minilm
from flyweight.models.minilm_files import TOKENIZER, minilm_files
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy
from flyweight.tasks.review_texts import review_texts
from flyweight.tasks.word_pieces import word_pieces

SHARES = {"report": 0.15, "select": 0.1}
"""Of all reviews; the rest is to train on."""

_CALIBRATE = 512


def movie_reviews(
    length: int = 128, epochs: int = 3, reviews: Path | str | None = None, model: Path | str | None = None
) -> Task:
    """33,400 English reviews, half of them good: about 25,080 train, 3,340 select, 5,010 report; MiniLM is to learn it.

    ``reviews`` and ``model`` are the CSV file and MiniLM's folder; None finds both in the packages of
    ``flyweight[text]``. The reviews are shuffled under a fixed seed, then cut into splits that share no text, not even
    as far as the ``length`` word pieces reach that are read; ``calibrate`` is the first 512 of train. A model's inputs
    are ``(input_ids, attention_mask)``, ``(N, length)`` int64. The task's model is MiniLM-L6 with the values of
    all-MiniLM-L6-v2 under an untrained classifier; its baseline is trained for ``epochs`` by AdamW at 5e-5 with a tenth
    of warm-up. It has no family: a narrower MiniLM would have to learn English from the reviews alone. Reading and
    cutting the texts takes about 15 s. Sources: Maas et al. 2011 (IMDb), Pang and Lee 2005 (Rotten Tomatoes); Sanh,
    Wolf and Rush 2020, arXiv 2005.07683, prune BERTs on such tasks.
    Raises :class:`MissingExtraError` where the packages are missing, :class:`TaskError` where the files are not right.
    """
    folder = minilm_files(model)
    texts, labels = review_texts(reviews)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()
    ids, mask = word_pieces([texts[i] for i in order], folder / TOKENIZER, length)
    data = _unlike(ids, mask, torch.tensor([labels[i] for i in order]))
    parts = _cut(len(data[0]))
    report, select, train = (TensorDataset(*(t[part] for t in data)) for part in parts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = load_minilm_weights(minilm(classes=2), folder)
    return Task(
        name="movie-reviews",
        model=network,
        example=tuple(t[:2] for t in train.tensors[:2]),
        data=Splits(
            train=train,
            calibrate=TensorDataset(*(t[:_CALIBRATE] for t in train.tensors)),
            select=select,
            report=report,
        ),
        loss=cross_entropy,
        quality=accuracy,
        train=Train(epochs=epochs, optimizer=adam(lr=5e-5, weight_decay=0.01, warmup=0.1, clip=1.0), batch_size=32),
    )


def _unlike(ids: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All but the later of two rows that begin alike for as long as they are read."""
    first: dict[bytes, int] = {}
    for place, row in enumerate(ids.numpy()):
        first.setdefault(row.tobytes(), place)
    kept = torch.tensor(list(first.values()))
    return ids[kept], mask[kept], labels[kept]


def _cut(count: int) -> tuple[slice, slice, slice]:
    report, select = (int(SHARES[name] * count) for name in ("report", "select"))
    if min(report, select) < 1 or count - report - select < 2:
        raise TaskError(f"TaskError: {count} reviews are too few to cut into splits. Give 20 or more.")
    return slice(0, report), slice(report, report + select), slice(report + select, count)
