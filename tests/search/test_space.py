"""What a free trial is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from flyweight.core.task import Task
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.train import Train
from flyweight.search.candidate import Candidate, Terms
from flyweight.search.free import free


def _mixes(candidates: list[Candidate]) -> bool:
    losses = [step.loss for one in candidates for step in one.recipe if isinstance(step, Train)]
    return any(isinstance(loss, mixed) for loss in losses)


def test_whole_numbers_are_not_mixed(fresh_task: Task, tmp_path: Path) -> None:
    search = free(trials=12, sampler="random", seed=0)
    assert _mixes(list(search(fresh_task, Terms(folder=tmp_path / "floats"))))
    tokens = dataclasses.replace(fresh_task, example=(torch.zeros(2, 7, dtype=torch.int64),))
    assert not _mixes(list(search(tokens, Terms(folder=tmp_path / "tokens"))))
