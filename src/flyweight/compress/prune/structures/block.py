"""Blocks of weights, the form in which sparse kernels gain speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.pools.prunable import prunable
from flyweight.compress.prune.pools.tiles import tiles
from flyweight.core.errors import ShapeError
from flyweight.core.task import Task


@dataclass(frozen=True)
class block:
    """Tiles of ``rows`` × ``columns`` of each layer's weight as a matrix (outputs, inputs · kernel) are the units.

    With ``taps`` a convolution's columns are the inputs at one place of its kernel, then those at the next, the order
    in which the sparse kernels take 4×4 tiles of int8 (for tiles of one column both are the same). Tiles at the lower
    and the right edge may be cut short. A tile's saliency is the sum of its elements'. Biases, batch-norm and
    transposed convolutions stay whole, and so does the layer that reads the model's input, unless ``first`` says
    otherwise. Raises :class:`ShapeError` for a tile without elements.
    Source: tiles of 4×1 and 16×1 as in Elsen et al. 2020, arXiv 1911.09723, section 3.
    """

    rows: int = 4
    columns: int = 1
    first: bool = False
    taps: bool = False

    units: ClassVar[str] = "blocks"

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ShapeError(
                    f"ShapeError: block got {name}={value!r}. Give a whole number, 1 or more, as in block(4, 1)."
                )

    def __call__(self, model: nn.Module, task: Task, exclude: Sequence[str]) -> list[Pool]:
        found = prunable(model, task, exclude, first=self.first, rows=True)
        return [tiles(weight, (self.rows, self.columns), taps=self.taps) for weight in found]
