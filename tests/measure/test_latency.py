"""Latency: right quantiles, fair turns, few samples for what is slow, and an end."""

from __future__ import annotations

import time

import pytest

from flyweight.measure.latency import Latency, latency, speedup


def test_sleeping_twice_as_long_takes_twice_as_long() -> None:
    one, two = latency([lambda: time.sleep(0.004), lambda: time.sleep(0.008)], seconds=0.15)
    assert one.median_ms >= 4
    ratio, low, high = speedup(two, one)
    assert ratio == pytest.approx(2, rel=0.3)
    assert low <= high
    assert one.median_ms <= one.p90_ms
    assert one.n > two.n >= 5
    assert len(one.rounds_ms) == len(two.rounds_ms)


def test_turns_are_interleaved_and_drawn_anew() -> None:
    calls: list[str] = []

    def call(name: str) -> None:
        calls.append(name)
        time.sleep(0.011)

    latency([lambda: call("a"), lambda: call("b")], seconds=0.15)
    rounds = ["".join(calls[i : i + 4]) for i in range(6, len(calls), 4)]  # one call cold and one timed, of each
    assert set(rounds) == {"aabb", "bbaa"}
    assert len(rounds) >= 10


def test_a_slow_call_is_made_only_a_few_times() -> None:
    count = 0

    def slow() -> None:
        nonlocal count
        count += 1
        time.sleep(0.12)

    (found,) = latency([slow], seconds=0.05)
    assert found.n == 3
    assert count <= 6


def test_quantiles_of_known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0

    def tick() -> int:
        return clock

    def call() -> None:
        nonlocal clock
        clock += next(durations)

    durations = iter([60_000_000 + 1_000_000 * (i % 10) for i in range(1000)])
    monkeypatch.setattr(time, "perf_counter_ns", tick)
    (found,) = latency([call], seconds=6.4)
    assert found.median_ms == pytest.approx(64.5, abs=1)
    assert found.iqr_ms == pytest.approx(4.5, abs=1)
    assert found.p90_ms == pytest.approx(68, abs=1)


def test_the_record_is_kept_small() -> None:
    (found,) = latency([lambda: time.sleep(0.0005)], seconds=0.6)
    assert isinstance(found, Latency)
    assert len(found.rounds_ms) <= 40
