"""What a rule of regrowth sees of a layer, and what a rule is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """One masked weight, by its units: elements, or tiles of them.

    ``live`` says which units are kept, ``(units,)`` bool. ``weight`` is Σ|w| of each unit's elements, under the sign
    of their sum; of single elements it is w itself. ``gradient`` is Σ|g| of the dense gradient that the rule asked
    for, and zero where it asked for none; both ``(units,)`` float.
    """

    live: Tensor
    weight: Tensor
    gradient: Tensor


class Rule(Protocol):
    """Which units live on; a frozen dataclass, and no more than a function of what it sees."""

    @property
    def every(self) -> int | None:
        """Optimizer steps from one update to the next; None: there is none."""

    @property
    def until(self) -> float:
        """The part of training, above 0 and up to 1, before whose end updates are made."""

    @property
    def memory(self) -> float | None:
        """The dense gradients that it asks for: None for none, 0 for that of the update's own step, else the factor β
        of their exponential mean over all steps, m ← β·m + (1 − β)·g."""

    def __call__(self, layers: Sequence[Layer], done: float, generator: torch.Generator) -> list[Tensor]:
        """The units of each layer to live from now on, bool; as many in all as lived before.

        ``done`` is the part of ``until`` that is over; ``generator`` (on the CPU) is what all randomness comes from.
        """


def decayed(fraction: float, done: float) -> float:
    """α/2 · (1 + cos(π · done)): the share of live units that an update drops, falling from α to 0."""
    return fraction / 2 * (1 + math.cos(math.pi * done))
