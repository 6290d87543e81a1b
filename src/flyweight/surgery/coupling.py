"""Which indices of which parameters live and die together: the vocabulary of removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Slice:
    """Where the units of a group stand in one parameter or buffer.

    ``name`` is its dotted name in the float model (``"features.0.weight"``); unit ``u`` owns the indices
    ``indices[u]``, ``(units, per unit)`` int64, along ``dim``. ``role`` is ``"output"`` where a layer makes the unit
    (rows of a weight, and its bias), ``"input"`` where a layer reads it (columns), ``"follow"`` where the parameter
    acts on it elementwise (batch-norm, layer scale, an embedding that is added).
    """

    name: str
    dim: int
    indices: Tensor
    role: str


@dataclass(frozen=True, eq=False)
class Group:
    """Units that can each be taken away alone: channels, neurons or attention heads.

    ``label`` is the dotted name of the first layer that makes them; ``kind`` is ``"channel"`` or ``"head"``.
    """

    label: str
    kind: str
    units: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True, eq=False)
class Coupling:
    """All that a model can lose: ``groups``, and ``refused``, layer → why its outputs have to stay."""

    groups: tuple[Group, ...]
    refused: Mapping[str, str]
