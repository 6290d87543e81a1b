import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.compress.prune.schedules.calendar import Calendar
from flyweight.compress.prune.schedules.constant import constant
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json

FRACTIONS = st.floats(0.0, 1.0)


@given(FRACTIONS, FRACTIONS, st.floats(1e-4, 1.0), st.integers(1, 400))
def test_updates_lie_between_begin_and_end_and_the_last_completes(one, two, every, total):
    begin, end = sorted((one, two))
    if begin == end:
        return
    calendar = Calendar.of(begin, end, every, total)
    due = [step for step in range(1, total + 1) if calendar.due(step)]
    assert due[-1] == calendar.stop <= total
    assert len(due) == calendar.updates
    done = [calendar.done(step) for step in due]
    assert done[-1] == 1.0
    assert all(a == pytest.approx(k / len(due)) for k, a in enumerate(done, 1))
    gaps = {b - a for a, b in zip(due, due[1:-1], strict=False)}
    assert gaps <= {calendar.gap}


@given(FRACTIONS)
def test_cubic_is_zhu_and_gupta_and_constant_is_even(done):
    initial, final = 0.2, 0.9
    ratio = initial + (final - initial) * cubic()(done)
    assert ratio == pytest.approx(final + (initial - final) * (1 - done) ** 3)
    assert constant()(done) == done


@pytest.mark.parametrize("kind", [cubic, constant])
def test_settings_are_checked_and_go_to_json_and_back(kind):
    schedule = kind(begin=0.1, end=0.5, every=0.02)
    assert from_json(to_json(schedule)) == schedule
    for begin, end in ((0.5, 0.5), (-0.1, 0.5), (0.0, 1.5)):
        with pytest.raises(
            FlyweightError, match=r"got begin=.* and end=.*\. Give fractions of the training that follo"
        ):
            kind(begin=begin, end=end)
    with pytest.raises(FlyweightError, match=f"{kind.__name__} got every=0. Give the fraction of the training's steps"):
        kind(every=0)
