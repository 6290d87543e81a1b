"""The recipes that prune, and the strategy of several ratios."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.one_shot import one_shot
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.obd import obd
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.prune.structures.n_m import n_m
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.sparsify.l1 import l1
from flyweight.compress.sparsify.penalized import penalized
from flyweight.core.errors import FlyweightError
from flyweight.core.recipe import run
from flyweight.core.serial import from_json, to_json
from flyweight.core.task import Task
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.optimizers import sgd
from flyweight.learn.train import Train
from flyweight.search.candidate import plain
from flyweight.search.chain import chain
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.pruned import pruned


class Told(nn.Module):
    """``inner``, whose outputs come under names: the logits, or a name of no meaning, alone or beside another."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = copy.deepcopy(inner), kind

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        z = self.inner(x)
        return {"logits" if self.kind == "logits" else "z": z, **({"y": 2 * z} if self.kind == "two" else {})}


@pytest.fixture
def task(fresh_task: Task) -> Task:
    assert isinstance(fresh_task.train, Train)
    return dataclasses.replace(fresh_task, train=dataclasses.replace(fresh_task.train, epochs=8))


def test_the_chain_shares_the_baseline_and_learns_from_it(task: Task) -> None:
    base, prune, remove, tuned, quantize, rounded = chain(tuning=0.25)(0.5, task)
    assert (base,) == plain(task).recipe
    assert prune == Prune(0.5, taylor(), channel(round_to=8))
    assert remove == Remove()
    assert isinstance(tuned, Train) and isinstance(rounded, Train) and isinstance(quantize, Quantize)
    assert (tuned.epochs, rounded.epochs) == (2, 1)
    assert tuned.optimizer.lr == pytest.approx(0.5 * task.train.optimizer.lr)
    assert rounded.optimizer.lr == pytest.approx(0.1 * task.train.optimizer.lr)
    for train in (tuned, rounded):
        assert isinstance(train.loss, distilled)
        assert train.loss.teachers == ((base,),)
    assert quantize.aware is not None


def test_what_is_left_out(task: Task) -> None:
    assert [type(s).__name__ for s in chain(bits=None)(0.5, task)] == ["Train", "Prune", "Remove", "Train"]
    assert [type(s).__name__ for s in chain()(0.0, task)] == ["Train", "Quantize", "Train"]
    assert chain(bits=None)(0.0, task) == plain(task).recipe
    assert [type(s).__name__ for s in chain(tuning=0.0, bits=None)(0.5, task)] == ["Train", "Prune", "Remove"]
    weights = chain(structure=element(), bits=None)(0.5, task)
    assert [type(s).__name__ for s in weights] == ["Train", "Prune", "Train"]


def test_a_trained_model_is_pruned_without_training(residual_task: Task) -> None:
    assert [type(s).__name__ for s in chain()(0.5, residual_task)] == ["Prune", "Remove", "Quantize"]
    assert chain(structure=element())(0.5, residual_task)[0] == Prune(0.5), "all at once"
    assert chain().label(0.5, residual_task) == "channels −50 %, int8, not tuned"
    assert chain().label(0.0, residual_task) == "unpruned, int8"


def test_a_trained_model_is_tuned_by_the_task_s_own_step(residual_task: Task) -> None:
    tune = Train(3, sgd(lr=0.02))
    task = dataclasses.replace(residual_task, tune=tune)
    prune, remove, tuned, quantize, rounded = chain()(0.5, task)
    assert isinstance(prune, Prune) and isinstance(remove, Remove) and isinstance(quantize, Quantize)
    assert isinstance(tuned, Train) and isinstance(tuned.loss, distilled) and quantize.aware is not None
    assert dataclasses.replace(tuned, loss=None) == tune
    assert tuned.loss.teachers == ((),), "the model that came is the teacher"
    assert isinstance(rounded, Train) and rounded.optimizer.lr == pytest.approx(0.002)
    assert chain().label(0.5, task) == "channels −50 %, int8"
    assert chain(structure=element())(0.5, task)[0].schedule == cubic(end=0.5)
    own = penalized(l1(1e-4))
    assert chain()(0.5, dataclasses.replace(task, tune=dataclasses.replace(tune, loss=own)))[2].loss == own
    assert [type(s).__name__ for s in chain(tuning=0.0, bits=None)(0.5, task)] == ["Prune", "Remove"]
    made = run(chain()(0.5, task), task.model, task)
    assert made(*task.example).shape == task.model.eval()(*task.example).shape


def test_the_task_s_own_tuning_comes_before_a_part_of_its_training(task: Task) -> None:
    tune = Train(5, sgd(lr=0.02))
    found = [s for s in chain(bits=None)(0.5, dataclasses.replace(task, tune=tune)) if isinstance(s, Train)]
    assert [s.epochs for s in found] == [8, 5]


@pytest.mark.parametrize("kind", ["logits", "alone", "two"])
def test_outputs_that_are_no_tensor_are_distilled_where_one_answers(kind: str, task: Task) -> None:
    model = Told(task.model, kind)
    told = dataclasses.replace(task, model=model, family=None, train=dataclasses.replace(task.train, epochs=1))

    def loss(forward: Any, batch: Any) -> torch.Tensor:
        return task.loss(lambda x: next(iter(forward(x).values())), batch)

    recipe = chain(bits=None)(0.5, dataclasses.replace(told, loss=loss))
    assert isinstance(recipe[-1], Train)
    assert (recipe[-1].loss is None) == (kind == "two")
    made = run(recipe, model, dataclasses.replace(told, loss=loss))
    assert sum(p.numel() for p in made.parameters()) < sum(p.numel() for p in model.parameters())


def test_zeros_come_in_the_training_that_follows(task: Task) -> None:
    def prune(how: chain) -> Prune:
        (found,) = (s for s in how(0.5, task) if isinstance(s, Prune))
        return found

    for structure in (element(), block(4, 1)):
        assert prune(chain(structure=structure)) == Prune(0.5, magnitude(), structure, schedule=cubic(end=0.5))
    assert prune(chain(structure=element(), score=taylor())).schedule == cubic(end=0.5)
    assert prune(chain(structure=element(), tuning=0.0)).schedule == one_shot(), "no training follows"
    assert prune(chain(structure=element(), score=obd())).schedule == one_shot(), "it cannot be asked in training"
    assert prune(chain(structure=n_m(2, 4))) == Prune(0.5, magnitude(), n_m(2, 4), schedule=cubic(end=0.5))


def test_labels_say_what_goes(task: Task) -> None:
    assert chain().label(0.5, task) == "channels −50 %, int8"
    assert chain(structure=element(), bits=None).label(0.3125, task) == "weights −31.2 %"
    assert chain(structure=block(16, 1), score=taylor()).label(0.5, task) == "16×1 blocks −50 % (taylor), int8"
    assert chain().label(0.0, task) == "unpruned, int8"


def test_the_seed_reaches_the_training(task: Task) -> None:
    assert {s.seed for s in chain(seed=3)(0.5, task) if isinstance(s, Train)} == {3}


def test_ratios_come_the_middle_first_in_integers_and_float(task: Task) -> None:
    found = list(pruned(ratios=(0.3, 0.9, 0.5))(task))
    assert [c.label for c in found] == [
        "unpruned, int8",
        *("channels −50 %, int8", "channels −50 %"),
        *("channels −30 %, int8", "channels −30 %"),
        *("channels −90 %, int8", "channels −90 %"),
    ]
    assert len({c.key(task) for c in found}) == len(found)
    recipes = {c.label: c.recipe for c in found}
    short = recipes["channels −50 %"]
    assert recipes["channels −50 %, int8"][: len(short)] == short, "they share their training"
    assert [c.label for c in pruned((0.0, 0.5), chain(bits=None))(task)] == ["channels −50 %"]
    assert len(list(pruned(())(task))) == 1


def test_it_is_json_both_ways(task: Task) -> None:
    for candidate in (*pruned()(task), *pruned((0.5,), chain(structure=kernel_blocks()))(task)):
        text = to_json(candidate.recipe)
        assert to_json(from_json(text)) == text
    for strategy in (pruned(), pruned((0.5,), chain(structure=kernel_blocks()))):
        assert from_json(to_json(strategy)) == strategy


def test_wrong_numbers_are_told() -> None:
    with pytest.raises(FlyweightError, match=r"ratio=1.0 is no fraction"):
        pruned((1.0,))
    with pytest.raises(FlyweightError, match=r"chain got tuning=-1"):
        chain(tuning=-1)
