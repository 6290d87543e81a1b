"""How good a model is on a split of the data, and how sure that is."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from flyweight.core.errors import MetricError, TaskError, unknown_name
from flyweight.core.point import Score
from flyweight.core.task import Forward, Task
from flyweight.deploy.bootstrap import interval
from flyweight.deploy.forward import as_forward
from flyweight.deploy.recorded import Recorded
from flyweight.deploy.still import still

if TYPE_CHECKING:
    from flyweight.measure.session import Session

SPLITS = ("train", "calibrate", "select", "report")


def score(model: Forward | Session, task: Task, split: str = "select", *, batch: int = 256) -> Score:
    """The task's quality of ``model`` on ``split``, with its 95 % interval by the bootstrap over examples.

    ``model`` is a module (scored in evaluation mode) or an open session. It passes over the data once, and the value is
    exact: the quality function sees the data as they are. The interval is made from the recorded outputs, see
    :func:`~flyweight.deploy.bootstrap.interval`. Raises :class:`MetricError` for a quality that is NaN, infinite or no
    number, :class:`TaskError` for an empty split, :class:`UnknownNameError` for an unknown one.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    dataset = getattr(task.data, split)
    if not len(dataset):
        raise TaskError(f"TaskError: the {split} split of task {task.name!r} is empty. Give it some examples.")
    with still(model):
        data = Recorded(_forward(model), dataset, batch, len(task.example))
        value = as_number(task.quality(data.forward, data), task, split)
        low, high = interval(value, data, lambda forward, drawn: as_number(task.quality(forward, drawn), task, split))
    return Score(value=value, low=low, high=high, examples=len(dataset))


def as_number(value: Any, task: Task, split: str) -> float:
    """``value`` as a finite float; raises :class:`MetricError`, which tells what it is and whose."""
    number = value.item() if hasattr(value, "item") and getattr(value, "size", None) in (1,) else value
    if isinstance(value, Tensor):
        number = value.item() if value.numel() == 1 else value
    if isinstance(number, Real) and math.isfinite(number):
        return float(number)
    name = getattr(task.quality, "__name__", type(task.quality).__name__)
    if isinstance(value, Tensor) and value.numel() != 1:
        got = f"a tensor of shape {tuple(value.shape)}"
    else:
        got = f"{number!r} ({type(value).__name__})"[:120]
    broken = isinstance(number, Real)
    way = (
        "Does the model diverge, or does the metric divide by zero? Return a finite number for such a model (0, say)."
        if broken
        else "Return one number, higher is better: float(...) of it."
    )
    raise MetricError(
        f"MetricError: quality {name!r} of task {task.name!r} returned {got} on the {split} split, "
        f"which cannot be compared. {way}"
    )


def _forward(model: Forward | Session) -> Forward:
    if not isinstance(model, nn.Module) and hasattr(model, "inputs") and hasattr(model, "outputs"):
        return as_forward(model)  # type: ignore[arg-type]
    return model
