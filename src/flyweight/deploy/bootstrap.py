"""How sure a quality is: the bootstrap over examples."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch

from flyweight.core.notes import note
from flyweight.core.task import Batches, Forward
from flyweight.deploy.recorded import Recorded

_DRAWINGS, _ENOUGH, _FEWEST = 200, 40, 8
"""Drawings wanted; how many give percentiles that mean something; and below how many there is no interval."""

_SECONDS = 1.5
"""Time for the interval: beside the training of a candidate it must not be felt."""

_Z = 1.959963984540054
"""The normal distribution's 97.5th percentile."""


def interval(value: float, data: Recorded, quality: Callable[[Forward, Batches], float]) -> tuple[float, float]:
    """The 95 % interval of ``value = quality(model, data)`` for any quality function.

    The n examples are drawn again with replacement, n of them, 200 times under one seed, so that two models on the same
    data see the same drawings, and the quality of each drawing is computed on the recorded outputs. The interval is the
    2.5th to the 97.5th percentile (Efron 1979, doi:10.1214/aos/1176344552), or value ± 1.96 standard deviations where
    there was time for fewer than 40. Where only a share of the data was kept it is narrowed by √share, as an interval
    goes with 1/√n. A drawing whose quality fails (a class that is missing, say) does not count; where fewer than 8 are
    left the interval is the value alone, and a warning says so.
    """
    n = len(data.whole()[0][0]) if data.share else 0
    generator = torch.Generator().manual_seed(0)
    values: list[float] = []
    end = time.perf_counter() + _SECONDS
    failure: Exception | None = None
    for tried in range(_DRAWINGS if n else 0):
        if time.perf_counter() > end and tried >= _FEWEST:
            break
        forward, drawn = data.drawn(torch.randint(n, (n,), generator=generator))
        try:
            values.append(quality(forward, drawn))
        except Exception as error:  # the user's function, on data it was not written for
            failure = error
    if len(values) < _FEWEST:
        reason = failure or "the quality function read no batch"
        note(f"no interval for the quality: it cannot be computed on drawn examples ({reason})")
        return value, value
    narrowed = math.sqrt(data.share)
    if len(values) < _ENOUGH:
        half = _Z * statistics.stdev(values) * narrowed
        return value - half, value + half
    low, high = torch.quantile(
        torch.tensor(values, dtype=torch.float64), torch.tensor([0.025, 0.975]).double()
    ).tolist()
    # The percentiles of a skewed metric may miss the value itself; an interval without its value would only confuse.
    return min(value, value + (low - value) * narrowed), max(value, value + (high - value) * narrowed)
