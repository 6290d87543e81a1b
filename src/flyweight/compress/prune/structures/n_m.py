"""n of each m: the fine pattern that hardware knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.pools.prunable import prunable
from flyweight.compress.prune.pools.tiles import Tiles, tiles
from flyweight.core.errors import ShapeError, UnsupportedError
from flyweight.core.task import Task


@dataclass(frozen=True)
class n_m:
    """``n`` of each ``m`` weights that follow one another along a layer's inputs stay.

    Of a convolution those are m input channels at one place of the kernel. The step's ratio has to be 1 − n/m. The
    layer that reads the model's input stays whole, unless ``first`` says otherwise, and so do biases, batch-norm and
    transposed convolutions. Raises :class:`ShapeError` for layers whose inputs are no multiple of m, or for no pattern,
    :class:`UnsupportedError` where a group has lost more already.
    Source: the 2:4 pattern as in Mishra et al. 2021, arXiv 2104.08378, section 3.
    """

    n: int = 2
    m: int = 4
    first: bool = False

    units: ClassVar[str] = "n:m"

    def __post_init__(self) -> None:
        numbers = all(isinstance(x, int) and not isinstance(x, bool) for x in (self.n, self.m))
        if not numbers or not 1 <= self.n < self.m:
            raise ShapeError(
                f"ShapeError: n_m got n={self.n!r} and m={self.m!r}. Give whole numbers, 1 ≤ n < m, as in n_m(2, 4)."
            )

    @property
    def ratio(self) -> float:
        """The fraction that goes."""
        return 1 - self.n / self.m

    def __call__(self, model: nn.Module, task: Task, exclude: Sequence[str]) -> list[Pool]:
        found = prunable(model, task, exclude, first=self.first, rows=True)
        odd = {}
        for weight in found:
            module, parameter, _ = weight.places[0]
            inputs = getattr(module, parameter).shape[1]
            if inputs % self.m:
                odd[weight.name] = inputs
        if odd:
            told = ", ".join(f"{name!r} with {inputs}" for name, inputs in list(odd.items())[:4])
            names = (*exclude, *odd)
            raise ShapeError(
                f"ShapeError: n_m({self.n}, {self.m}) needs inputs in multiples of {self.m}, and of the layers "
                f"{len(odd)} have others: {told}{', …' if len(odd) > 4 else ''}. Use exclude={names!r}."
            )
        pools = [tiles(weight, among=self.m) for weight in found]
        for pool in pools:
            self._check_room(pool)
        return [*pools]

    def _check_room(self, pool: Tiles) -> None:
        left = pool.masks[0].keep.movedim(1, -1).reshape(-1, self.m).sum(1)
        if bool((left < self.n).any()):
            raise UnsupportedError(
                f"UnsupportedError: of some {self.m} weights of {pool.name!r} fewer than {self.n} are left, so other "
                f"groups would have to keep more than n_m({self.n}, {self.m}) allows. Take it before other pruning, or "
                f"exclude=({pool.name!r},)."
            )
