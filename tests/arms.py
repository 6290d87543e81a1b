"""Strategies of a few candidates, and a measurement that takes no time, for the tests of ``optimize``."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import UnsupportedError
from flyweight.core.footprint import Footprint
from flyweight.core.point import Point
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate, Terms, plain


class Loaded(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Examples that are no TensorDataset, so that ``Fit(workers=1)`` starts a process for them."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


@dataclass(frozen=True)
class Refuse(Step):
    """A step that never works: by an error of ours, or by an accident."""

    accident: bool = False

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        if self.accident:
            raise ZeroDivisionError("by nought")
        raise UnsupportedError("UnsupportedError: Refuse can't do layer 'head'.")


def few(task: Task, terms: Terms) -> Iterator[Candidate]:
    """The baseline in int8, a wider model, and a failure."""
    base = plain(task).recipe
    return iter(
        (
            Candidate(label="int8", recipe=(*base, Quantize(bits=8))),
            Candidate(label="refused", recipe=(*base, Refuse())),
            Candidate(label="wide", recipe=(Resize(2.0), *base)),
        )
    )


def many(task: Task, terms: Terms) -> Iterator[Candidate]:
    """Two widths and a longer training, float and int8, so that prefixes are shared."""
    assert task.train is not None
    longer = dataclasses.replace(task.train, epochs=2 * task.train.epochs)
    for width in (0.5, 2.0):
        recipe = (Resize(width), longer)
        yield Candidate(label=f"width {width:g}", recipe=recipe)
        yield Candidate(label=f"width {width:g} int8", recipe=(*recipe, Quantize(bits=8)))
        yield Candidate(label=f"width {width:g} tuned", recipe=(*recipe, task.train))


def learner(task: Task, terms: Terms) -> Generator[Candidate, Point, None]:
    """Goes on only when the first is told to it."""
    point = yield Candidate(label="first", recipe=(Resize(2.0), *plain(task).recipe))
    assert terms.baseline is not None
    yield Candidate(label=f"after {point.label}", recipe=(*plain(task).recipe, Refuse(), Refuse()))


def counted(paths: list[Path], **options: Any) -> list[Footprint]:
    """Footprints of bytes alone, in the place of :func:`flyweight.measure.footprint.footprints`."""
    detail = {"threads": options["threads"]}
    return [Footprint(size_bytes=path.stat().st_size, latency_ms=1.0, detail=detail) for path in paths]
