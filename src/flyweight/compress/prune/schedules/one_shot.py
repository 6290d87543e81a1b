"""All at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class one_shot:
    """Everything goes at once, when the step is taken; training, if any, is for a later step."""

    in_training: ClassVar[bool] = False
    train: ClassVar[None] = None

    def __call__(self, ratio: float) -> tuple[float, ...]:
        return (ratio,)
