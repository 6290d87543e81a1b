"""Reading a field of the evidence, or saying how to come by it."""

from __future__ import annotations

import torch
from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.core.errors import FlyweightError, TrainingError

_GIVEN_BY = {
    "gradient": "gather(…, needs=score.needs) collects it from the calibration set, training from its own steps",
    "curvature": "gather(…, needs=score.needs) collects it from the calibration set",
    "inputs": "gather(…, needs=score.needs) collects it from the calibration set, for convolutions and linear layers",
    "gram": "gather(…, needs=score.needs) collects it from the calibration set, for convolutions and linear layers",
    "movement": "only training tells it: use a schedule that prunes in training, not at once",
    "momentum": "only training tells it: use a schedule that prunes in training, not at once",
}


def required(evidence: Evidence, field: str, score: str) -> Tensor:
    """``evidence``'s ``field`` in at least float32, every value of it finite.

    Raises :class:`FlyweightError` where it was not collected, :class:`TrainingError` where it holds NaN or infinity.
    """
    value: Tensor | None = getattr(evidence, field)
    if value is None:
        raise FlyweightError(
            f"FlyweightError: the score {score} needs the {field} of {evidence.name!r}, and has none: "
            f"{_GIVEN_BY[field]}."
        )
    value = value.detach()
    value = value if value.dtype == torch.float64 else value.float()
    if not bool(torch.isfinite(value).all()):
        raise TrainingError(
            f"TrainingError: the score {score} can't order {evidence.name!r}: its {field} holds NaN or infinity. "
            "Is the model trained, are inputs and loss finite? Else exclude the layer."
        )
    return value
