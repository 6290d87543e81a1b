"""How long a call takes: several calls timed in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_WARM_CALLS = 3
_BLOCK_NS = 10_000_000
_FEWEST_CALLS, _FEWEST_ROUNDS = 3, 5
_COLD_NS = 50_000_000
"""A call longer than this does not feel what the caches held before, so none is spent on warming them again."""

_KEPT = 40


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds a call: median, interquartile range, 90th percentile of ``n`` calls.

    ``rounds_ms`` has the median of each round, in the order in which they were timed: the raw record, kept small.
    """

    median_ms: float
    iqr_ms: float
    p90_ms: float
    n: int
    rounds_ms: tuple[float, ...]


def latency(calls: Sequence[Callable[[], object]], seconds: float = 1.0, seed: int = 0) -> list[Latency]:
    """Times ``calls``, interleaved, for about ``seconds`` each (the slower ones get more of the whole).

    After three calls each to warm up, rounds follow in which every one has a block of 10 ms (at least one call), in an
    order drawn anew each round; the first call of a block warms the caches and is not timed. There are at least five
    rounds, or three where calls are longer than ``seconds``; the garbage collector rests. On a host that others
    use too only the ratio of two medians of the same run means anything.
    """
    for call in calls:
        for _ in range(_WARM_CALLS):
            start = time.perf_counter_ns()
            call()
            if time.perf_counter_ns() - start > seconds * 1e9:
                break
    samples: list[list[list[int]]] = [[] for _ in calls]
    order = list(range(len(calls)))
    shuffle = random.Random(seed).shuffle
    collecting = gc.isenabled()
    gc.disable()
    try:
        while not _enough(samples, seconds):
            shuffle(order)
            for i in order:
                samples[i].append(_block(calls[i], samples[i]))
    finally:
        if collecting:
            gc.enable()
    return [_summary(s) for s in samples]


def speedup(base: Latency, other: Latency) -> tuple[float, float, float]:
    """The ratio of medians, base over other, and the quartiles of the ratio from round to round."""
    ratios = [b / o for b, o in zip(base.rounds_ms, other.rounds_ms, strict=False)]
    low, high = np.quantile(ratios, (0.25, 0.75)).tolist()
    return base.median_ms / other.median_ms, low, high


def _block(call: Callable[[], object], before: list[list[int]]) -> list[int]:
    if not before or before[-1][-1] < _COLD_NS:
        call()
    times: list[int] = []
    start = now = time.perf_counter_ns()
    end = start + _BLOCK_NS
    while not times or now < end:
        start = time.perf_counter_ns()
        call()
        now = time.perf_counter_ns()
        times.append(now - start)
    return times


def _enough(samples: list[list[list[int]]], seconds: float) -> bool:
    done = len(samples[0]) if samples else _FEWEST_ROUNDS
    wanted = seconds * 1e9 * len(samples)
    spent = sum(sum(block) for rounds in samples for block in rounds)
    if done < _FEWEST_CALLS or spent < wanted:
        return False
    return done >= _FEWEST_ROUNDS or spent > 3 * wanted


def _summary(rounds: list[list[int]]) -> Latency:
    ms = np.concatenate([np.asarray(r) for r in rounds]) / 1e6
    q25, q50, q75, q90 = np.quantile(ms, (0.25, 0.5, 0.75, 0.9)).tolist()
    kept = rounds[:: -(-len(rounds) // _KEPT)]
    return Latency(
        median_ms=q50,
        iqr_ms=q75 - q25,
        p90_ms=q90,
        n=len(ms),
        rounds_ms=tuple(float(f"{statistics.median(r) / 1e6:.5g}") for r in kept),
    )
