"""The size of a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required
from flyweight.core.errors import FlyweightError


@dataclass(frozen=True)
class magnitude:
    """|w|^p: units of several elements add these up, so p=1 compares them by L1 norm, p=2 by L2 norm squared.

    Raises :class:`FlyweightError` for another p.
    Source: Han et al. 2015, arXiv:1506.02626; of whole filters Li et al. 2017, arXiv:1608.08710.
    """

    p: int = 1

    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "weight"

    def __post_init__(self) -> None:
        if isinstance(self.p, bool) or self.p not in (1, 2):
            raise FlyweightError(f"FlyweightError: magnitude got p={self.p!r}. Give p=1, or p=2 for squares.")

    def __call__(self, evidence: Evidence) -> Tensor:
        weight = required(evidence, "weight", "magnitude")
        return weight.abs() if self.p == 1 else weight.square()
