"""Setting the ranges of activations on the calibration set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.quantize.ranges.observed import Extremes, Histogram
from flyweight.compress.quantize.ranges.rule import Range
from flyweight.core.errors import UnsupportedError
from flyweight.core.task import Task, batches
from flyweight.surgery.activation import Requantize
from flyweight.surgery.device import on_device
from flyweight.surgery.modes import evaluated


@torch.no_grad()
def calibrate_(model: nn.Module, task: Task, rule: Range) -> None:
    """Sets the range of every :class:`Requantize` in ``model`` by ``rule``, from what ``task.data.calibrate`` gives.

    The set passes through the model once, and once more where the rule needs a histogram. No tensor is rounded while
    that goes on; weights are. Raises :class:`UnsupportedError` where a tensor is infinite or NaN.
    """
    places = {name: m for name, m in model.named_modules() if isinstance(m, Requantize)}
    extremes = {name: Extremes() for name in places}
    _pass(model, task, {places[n]: o for n, o in extremes.items()})
    seen: dict[str, Any] = {name: o.seen() for name, o in extremes.items()}
    for name, observed in seen.items():
        if observed is not None and not float("-inf") < observed.low <= observed.high < float("inf"):
            raise UnsupportedError(
                f"UnsupportedError: {name} saw values from {observed.low} to {observed.high} on the calibration set, "
                "and no grid covers them. Is the model trained, and are the inputs finite?"
            )
    if rule.histogram:
        counters = {name: Histogram(observed) for name, observed in seen.items() if observed is not None}
        _pass(model, task, {places[n]: o for n, o in counters.items()})
        seen.update({name: o.seen() for name, o in counters.items()})
    for name, place in places.items():
        # A place that no batch reached keeps the range from 0 to 1.
        low, high = (0.0, 1.0) if seen[name] is None else rule(seen[name], place.codes)
        place.settle(place.low.new_tensor(low), place.high.new_tensor(high))


def _pass(model: nn.Module, task: Task, observers: dict[Requantize, Callable[[Tensor], None]]) -> None:
    for place, observer in observers.items():
        place.observe(observer)
    with evaluated(model):
        for batch in batches(task.data.calibrate):
            model(*on_device(task.inputs(batch), model))
