"""The step of sparse training: a random mask that is exact in each layer, and a rule by which it moves in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.compress.prune.distributions.earliest import check_ratio
from flyweight.compress.prune.distributions.erdos_renyi import erdos_renyi
from flyweight.compress.prune.pool import Distribution, Pool, Structure, strongest
from flyweight.compress.prune.regrow.regrowth import Regrowth, weight_of
from flyweight.compress.prune.regrow.rigl import rigl
from flyweight.compress.prune.regrow.rule import Rule
from flyweight.compress.prune.structures.block import block as tiles
from flyweight.compress.prune.structures.element import element
from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.step import Step
from flyweight.core.takes import takes
from flyweight.core.task import Task
from flyweight.learn.randomness import derived


@dataclass(frozen=True)
class Regrow(Step):
    """Sparse from the start: the fraction ``ratio`` of the weights is zero at every step of the training that follows.

    Elements to live are drawn at random under ``seed``, as many in each layer as ``distribution`` says (Erdős–Rényi:
    the larger a layer, the sparser); the others are zero. While the next :class:`~flyweight.learn.train.Train` runs,
    ``rule`` drops and regrows: :class:`rigl`, :class:`snfs`, :class:`set_`, or :class:`static`, which does not. Under
    RigL, SET and static the count of live elements stays in each layer, under SNFS in all together. After that training
    the masks stay. ``block`` is the tile (rows, columns) of a weight as a matrix ``(outputs, inputs · kernel)`` that
    lives and dies as one; where tiles at the edges are cut short, tiles are what is counted. Biases, norms and the
    layer that reads the model's input stay dense, and what a glob of ``exclude`` matches.

    Weights are zeroed as they are taken away, so the step is for a network that is yet to be trained. Raises
    :class:`UnsupportedError` where a layer is masked already, or nothing is left to mask.
    """

    ratio: float
    rule: Rule = rigl()  # noqa: RUF009 (frozen)
    distribution: Distribution = erdos_renyi()  # noqa: RUF009
    block: tuple[int, int] = (1, 1)
    seed: int = 0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if isinstance(self.rule, type) or not callable(self.rule) or not hasattr(self.rule, "memory"):
            raise FlyweightError(
                f"FlyweightError: Regrow got rule={self.rule!r}. Give rigl(every=100), snfs(), set_() or static()."
            )
        if not takes(self.distribution, 4) or getattr(self.distribution, "measures", False):
            raise FlyweightError(
                f"FlyweightError: Regrow got distribution={self.distribution!r}. Give erdos_renyi() or uniform(): of a "
                "network that is yet to be trained nothing can be measured."
            )
        if isinstance(self.exclude, list):
            object.__setattr__(self, "exclude", tuple(self.exclude))
        if isinstance(self.block, list):
            object.__setattr__(self, "block", tuple(self.block))
        if not isinstance(self.block, tuple) or len(self.block) != 2:
            raise FlyweightError(
                f"FlyweightError: Regrow got block={self.block!r}. Give (rows, columns), as in block=(4, 1)."
            )
        tiles(*self.block)

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        pools = self._pools(model, task)
        for pool in pools:
            _check_free(pool)
        Regrowth(pools, self.rule, self.seed)
        chances = [self._chance(pool) for pool in pools]
        for pool, chance, ratio in zip(
            pools, chances, self.distribution(pools, chances, self.ratio, None), strict=True
        ):
            keep = strongest(chance, len(chance) - round(ratio * len(chance)))
            pool.write(keep.to(pool.kept.device))
            with torch.no_grad():
                weight_of(pool).masked_fill_(~pool.gates[0].keep, 0)  # type: ignore[operator]
        return model

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        Regrowth(self._pools(model, task), self.rule, self.seed)
        return model

    def _pools(self, model: nn.Module, task: Task) -> list[Pool]:
        structure: Structure = element() if self.block == (1, 1) else tiles(*self.block)
        return structure(model, task, self.exclude)

    def _chance(self, pool: Pool) -> Tensor:
        """A number of chance for each unit: where there is no training yet, nothing else can choose."""
        draw = torch.Generator().manual_seed(derived("regrow", self.seed, pool.name))
        return torch.rand(len(pool.kept), generator=draw)


def _check_free(pool: Pool) -> None:
    """Refuses a mask that took something away, or will in a training to come."""
    plans = [child for gate in pool.gates for child in gate.children()]
    if not bool(pool.kept.all()) or not all(bool(getattr(plan, "over", False)) for plan in plans):
        raise UnsupportedError(
            f"UnsupportedError: the weight of {pool.name!r} is masked already, and Regrow(...) draws masks of its own. "
            "Take Regrow before what prunes, take away for good what is pruned with Remove(), or "
            f"exclude=({pool.name!r},)."
        )
