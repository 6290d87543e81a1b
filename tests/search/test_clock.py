"""Time limits: how they are written, when they end a candidate."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.core.errors import FlyweightError
from flyweight.search.clock import Clock, TimeUp, seconds


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20m", 1200),
        ("90", 90),
        (90, 90),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("2d", 172800),
        (" 1 h ", 3600),
        (None, None),
    ],
)
def test_reads_times(text: str | float | None, wanted: float | None) -> None:
    assert seconds(text) == wanted


@given(st.integers(0, 9), st.integers(0, 59), st.integers(1, 59))
def test_reads_sums(hours: int, minutes: int, rest: int) -> None:
    assert seconds(f"{hours}h{minutes}m{rest}s") == 3600 * hours + 60 * minutes + rest


@pytest.mark.parametrize("text", ["", "m", "20x", "soon", "-5", "0", "5m-3s", float("nan")])
def test_says_how_to_write_a_time(text: str) -> None:
    with pytest.raises(FlyweightError, match=r"is no time limit\. Give seconds, or a number with s, m, h or d"):
        seconds(text)


def test_is_over_at_the_limit_and_never_without() -> None:
    assert Clock(0.001, start=time.monotonic() - 1).over
    assert not Clock(100.0).over
    assert not Clock(None, start=-1e9).over


def test_interrupts_what_runs_far_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "grace", 0.1)
    start = time.monotonic()
    with pytest.raises(TimeUp), Clock(0.1).guard():
        time.sleep(5)
    assert 0.15 < time.monotonic() - start < 2
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_gives_a_running_candidate_a_tenth_more() -> None:
    assert Clock(1000.0).grace == 100
    assert Clock(10.0).grace == 10


def test_leaves_another_thread_and_another_alarm_alone() -> None:
    ended: list[bool] = []

    def work() -> None:
        with Clock(0.01).guard():
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]
    signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        with Clock(0.01).guard():
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
