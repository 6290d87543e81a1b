"""What a free trial is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from flyweight.core.footprint import Footprint
from flyweight.core.point import Point, Score
from flyweight.core.task import Task
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.train import Train
from flyweight.search.candidate import Candidate, Terms
from flyweight.search.free import free


def _mixes(candidates: list[Candidate]) -> bool:
    losses = [step.loss for one in candidates for step in one.recipe if isinstance(step, Train)]
    return any(isinstance(loss, mixed) for loss in losses)


def _trials(task: Task, folder: Path) -> list[Candidate]:
    """Twelve, each answered with the same made-up point."""
    folder.mkdir()
    candidates = free(trials=12, sampler="random", seed=0)(task, Terms(folder=folder))
    found = [next(candidates)]
    quality, footprint = Score(value=0.5, low=0, high=1, examples=10), Footprint(size_bytes=1000, latency_ms=1.0)
    while len(found) < 12:
        point = Point(id="x", label=found[-1].label, quality=quality, footprint=footprint)
        found.append(candidates.send(point))
    candidates.close()
    return found


def test_whole_numbers_are_not_mixed(fresh_task: Task, tmp_path: Path) -> None:
    assert _mixes(_trials(fresh_task, tmp_path / "floats"))
    tokens = dataclasses.replace(fresh_task, example=(torch.zeros(2, 7, dtype=torch.int64),))
    assert not _mixes(_trials(tokens, tmp_path / "tokens"))
