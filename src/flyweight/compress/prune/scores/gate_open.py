"""Learnt gates and noise as a score: what L0 and variational dropout found, for any structure and schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.core.errors import FlyweightError, UnsupportedError


@dataclass(frozen=True)
class gate_open:
    """How sure an element is to stay: P(z ≠ 0) of its gate of ``L0Gates``, 1/(1 + α) of ``VariationalDropout``'s noise.

    ``reads="weight"`` reads the gates on layers' weights; ``reads="norm"`` those on batch-norm scales, where
    ``L0Gates(over=outputs())`` puts them, for structures of channels. Gates on inputs tell nothing of the rows that
    make a channel: they need no Prune, for ``Settle`` masks the columns themselves. To be taken before ``Settle``,
    which ends gates.
    Raises :class:`UnsupportedError` for a parameter without either.
    Source: Louizos et al., 2018, arXiv:1712.01312, eq. 12; Molchanov et al., 2017, arXiv:1701.05369.
    """

    reads: str = "weight"
    needs: ClassVar[tuple[str, ...]] = ("openness",)

    def __post_init__(self) -> None:
        if self.reads not in ("weight", "norm"):
            raise FlyweightError(
                f"FlyweightError: gate_open got reads={self.reads!r}. Give 'weight', or 'norm' for gates on batch-norm."
            )

    def __call__(self, evidence: Evidence) -> Tensor:
        """The openness, in the weight's shape."""
        if evidence.openness is None:
            raise UnsupportedError(
                f"UnsupportedError: gate_open finds no gates on {evidence.name!r}. Put L0Gates() or "
                "VariationalDropout(), and a training, before this step and Settle() after it, or exclude the layer."
            )
        return evidence.openness
