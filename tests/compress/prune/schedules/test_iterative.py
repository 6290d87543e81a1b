import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.compress.prune.schedules.one_shot import one_shot
from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json
from flyweight.learn.train import Train


@given(st.floats(0.0, 0.99), st.integers(1, 9))
def test_each_round_takes_the_same_part_of_what_remains_and_the_last_ends_at_the_ratio(ratio, rounds):
    ratios = iterative(rounds=rounds)(ratio)
    assert len(ratios) == rounds
    assert ratios[-1] == ratio
    left = [1.0, *(1 - r for r in ratios)]
    parts = [1 - b / a for a, b in zip(left, left[1:], strict=False)]
    assert parts == pytest.approx([1 - (1 - ratio) ** (1 / rounds)] * rounds, abs=1e-9)
    assert one_shot()(ratio) == (ratio,)


def test_settings_are_checked_and_go_to_json_and_back():
    schedule = iterative(rounds=3, train=Train(epochs=2))
    assert from_json(to_json(schedule)) == schedule
    with pytest.raises(FlyweightError, match="iterative got rounds=0. Give a whole number, 1 or more, as in rounds=5."):
        iterative(rounds=0)
    with pytest.raises(FlyweightError, match="iterative got train=3. Give the step that fine-tunes, as in train=Train"):
        iterative(train=3)
