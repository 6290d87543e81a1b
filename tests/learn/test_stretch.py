"""A stretch has the learning rates of the whole."""

import pytest

from flyweight.compress.prune.stretch import stretch
from flyweight.core.serial import from_json, to_json
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.schedules import one_cycle
from flyweight.learn.train import Train


@pytest.mark.parametrize("optimizer", [adam(), sgd(warmup=0.3), sgd(schedule=one_cycle())])
@pytest.mark.parametrize("steps", [1, 7])
def test_the_rates_are_those_of_the_whole(optimizer, steps):
    train = Train(epochs=5, optimizer=optimizer)
    whole = [optimizer.factor(step, 5 * steps) for step in range(5 * steps)]
    cut = [stretch(train, 0, 2), stretch(train, 2, 5)]
    assert [part.epochs for part in cut] == [2, 3]
    parts = [p.optimizer.factor(step, p.epochs * steps) for p in cut for step in range(p.epochs * steps)]
    assert parts == pytest.approx(whole)
    assert stretch(train, 0, 5) is train
    assert from_json(to_json(cut[1])) == cut[1]
    assert stretch(Train(3, sgd(clip=2.0)), 1, 3).optimizer.clip == 2.0
