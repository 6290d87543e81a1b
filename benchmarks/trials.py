"""What benchmarks share that choose a setting for each arm: it is tried on seeds of its own, and chosen on select."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TUNING = 1000
"""Seeds from here on are for choosing, and are never reported."""


@dataclass(frozen=True)
class Cell:
    """One network: an arm, its setting, a seed; the report split is read of those alone that are ``reported``."""

    arm: str
    setting: str
    seed: int
    reported: bool

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.setting}-s{self.seed}{'' if self.reported else '-tuning'}"


def best(arm: str, settings: Sequence[str], tuned: Sequence[dict[str, Any]]) -> str:
    """The setting of the best mean on select, of those tried on as many seeds as any; the first where none was."""
    scores = {
        setting: [row["select"] for row in tuned if (row["arm"], row["setting"]) == (arm, setting)]
        for setting in settings
    }
    most = max(len(values) for values in scores.values())
    tried = {setting: statistics.fmean(values) for setting, values in scores.items() if values and len(values) == most}
    return max(tried, key=lambda setting: tried[setting]) if tried else settings[0]
