"""The recipes that prune, and the strategy of several ratios."""

from __future__ import annotations

import dataclasses

import pytest

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
from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json
from flyweight.core.task import Task
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.train import Train
from flyweight.search.candidate import plain
from flyweight.search.chain import chain
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.pruned import pruned


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


def test_labels_say_what_goes() -> None:
    assert chain().label(0.5) == "channels −50 %, int8"
    assert chain(structure=element(), bits=None).label(0.3125) == "weights −31.2 %"
    assert chain(structure=block(16, 1), score=taylor()).label(0.5) == "16×1 blocks −50 % (taylor), int8"
    assert chain().label(0.0) == "unpruned, int8"


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
