"""How much each layer loses, so that a measured budget is kept at the least damage."""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from flyweight.compress.prune.cut import Judged, counts, judged
from flyweight.compress.prune.damage import damage_of
from flyweight.compress.prune.distributions.earliest import ascending
from flyweight.compress.prune.distributions.fixed import fixed
from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.gather.gather import gather
from flyweight.compress.prune.pool import Pool, strongest
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.core.errors import BudgetError, FlyweightError
from flyweight.core.step import Recipe
from flyweight.core.takes import takes
from flyweight.core.task import Task
from flyweight.search.least_damage import least_damage

Price = Callable[[Sequence[nn.Module]], Sequence[float]]
"""What models cost, in the order given: :class:`~flyweight.search.priced.priced` measures their files."""

RATIOS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)

REMOVED: Recipe = (Remove(),)
"""What is priced, where nothing else is said: the model without the units that went."""

_ROUNDS = 12
"""Corrections of the sum of savings until the whole model keeps the limit."""

_BEYOND = 1e-9
"""How much more than before has to be saved for another choice: more than the knapsack takes for equal."""

_NEAR = 0.99
"""A price from here to the limit is near enough."""


class Table(Protocol):
    """Costs by pool, measured before: see :func:`~flyweight.search.layer_costs.layer_costs`."""

    def at(self, name: str, count: float) -> float:
        """What the layers of the pool ``name`` cost with ``count`` units kept."""


@dataclass(frozen=True)
class Layer:
    """What was measured of one pool: the fractions of its units ``lost``, and what each ``saves`` and ``hurts``."""

    name: str
    lost: tuple[float, ...]
    saves: tuple[float, ...]
    hurts: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Allocation:
    """The step ``prune`` that keeps the limit, the ``price`` of what it leaves, and the table it was chosen from."""

    prune: Prune
    price: float
    layers: tuple[Layer, ...]


def allocate(
    model: nn.Module,
    task: Task,
    price: Price,
    limit: float,
    prune: Prune,
    *,
    then: Recipe = REMOVED,
    ratios: Sequence[float] = RATIOS,
    table: Table | None = None,
) -> Allocation:
    """Finds for each layer the ratio at which ``model`` costs at most ``limit`` and the loss rises least.

    ``prune`` says score and structure, and what is excluded; ratio and distribution are what is found. Each pool (a
    layer, or layers that are coupled) alone loses each of ``ratios`` of its units, and two things are measured: the
    rise of the loss on the calibration set, and the price of what the steps ``then`` make of it. One ratio a pool is
    chosen such that the savings suffice and the damages add up to the least
    (:func:`~flyweight.search.least_damage.least_damage`). Savings do not quite add up, for a layer reads what another
    makes: so the whole is priced, and what is needed is corrected, until the limit is kept.

    ``model`` is left as it was; pools × ratios models are priced, those of a pool together with the model itself, to
    whose pace they are related. With a ``table`` of what the layers cost, in the unit of ``price``, savings are read
    there, and only whole allocations are priced. Raises :class:`BudgetError` where not even the largest ratios keep the
    limit.
    """
    if not takes(price, 1):
        raise FlyweightError(
            f"FlyweightError: allocate got price={price!r}. Give a function of models that tells what each costs, as "
            'in priced(task, "latency_ms").'
        )
    if not isinstance(prune, Prune):
        raise FlyweightError(
            f"FlyweightError: allocate got prune={prune!r}. Give a Prune(0.5, score, structure); its ratio is not "
            "asked."
        )
    if not ratios or list(ratios) != sorted(set(ratios)) or not 0 < ratios[0] <= ratios[-1] < 1:
        raise FlyweightError(
            f"FlyweightError: allocate got ratios={tuple(ratios)!r}. Give fractions above 0 and below 1 that rise, as "
            "in (0.25, 0.5, 0.75)."
        )
    return _Shop(copy.deepcopy(model), task, price, prune, then, table).find(limit, ratios)


@dataclass
class _Shop:
    """A model under masks, and what its variants cost."""

    model: nn.Module
    task: Task
    price: Price
    prune: Prune
    then: Recipe
    table: Table | None
    pace: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        pools = self.prune.structure(self.model, self.task, self.prune.exclude)
        self.found: Judged = judged(pools, self.prune.score, self._evidence)
        self.whole = self._variant({})

    def find(self, limit: float, ratios: Sequence[float]) -> Allocation:
        self._shares([])
        layers = self._measured(ratios)
        whole = statistics.median_low(self.pace)
        options = [[(0.0, 0.0), *zip(one.saves, one.hurts, strict=True)] for one in layers]
        most = sum(max(saving for saving, _ in choices) for choices in options)
        every = [len(choices) - 1 for choices in options]
        low, high = 0.0, math.inf
        need, best, seen = whole - limit, None, set()
        for left in reversed(range(_ROUNDS)):
            picked = least_damage(options, min(need, most)) or []
            if low > most or (best is None and not left):
                picked = every  # before it is said that nothing is enough
            if tuple(picked) in seen:
                break
            seen.add(tuple(picked))
            cost = whole * self._shares([self._counts(layers, picked)])[0]
            saved, hurt = (sum(choices[p][i] for choices, p in zip(options, picked, strict=True)) for i in (0, 1))
            if cost <= limit:
                high = need
                if best is None or hurt < best[0]:
                    best = hurt, cost, picked
                if cost >= _NEAR * limit or need <= 0:
                    break
            elif picked == every:
                raise BudgetError(self._unmet(limit, cost, ratios[-1]))
            else:
                # What is said to save this much was too little: the same choice must not be made again.
                low = max(need, saved + _BEYOND * max(1.0, saved))
            reached = max(whole - cost, 1e-9 * whole)
            need = max(low, max(1.02, (whole - limit) / reached) * need) if high == math.inf else (low + high) / 2
        assert best is not None
        return Allocation(self._step(self._counts(layers, best[2])), best[1], tuple(layers))

    def _evidence(self, pool: Pool) -> Mapping[str, Evidence]:
        return gather(self.model, pool.reads(self.prune.score.reads), self.prune.score.needs, self.task)

    def _measured(self, ratios: Sequence[float]) -> list[Layer]:
        damage = damage_of(self.model, self.task, self.found)
        kept = []
        for pool in self.found.pools:
            units = len(pool.kept)
            kept.append(list(dict.fromkeys(k for r in ratios if (k := counts([pool], [r])[0]) < units)))
        saves = self._saves(kept)
        layers = []
        for pool, some, saved in zip(self.found.pools, kept, saves, strict=True):
            lost = [1 - count / len(pool.kept) for count in some]
            # A rise below nothing is chance's, and would be paid for by every layer that is cut for its sake.
            hurts = [max(0.0, damage(pool, share)) for share in lost]
            layers.append(Layer(pool.name, tuple(lost), tuple(saved), tuple(hurts)))
        return layers

    def _saves(self, kept: Sequence[Sequence[int]]) -> list[list[float]]:
        """What is saved where each pool alone keeps each of its counts."""
        if self.table is not None:
            whole = [self.table.at(pool.name, len(pool.kept)) for pool in self.found.pools]
            pools = zip(self.found.pools, kept, whole, strict=True)
            return [[full - self.table.at(pool.name, count) for count in some] for pool, some, full in pools]
        shares = [self._shares([{index: count} for count in some]) for index, some in enumerate(kept)]
        unit = statistics.median_low(self.pace)
        return [[unit * (1 - share) for share in one] for one in shares]

    def _counts(self, layers: Sequence[Layer], picked: Sequence[int]) -> dict[int, int]:
        """How many units each pool that loses some keeps."""
        units = [len(pool.kept) for pool in self.found.pools]
        chosen = enumerate(zip(layers, picked, strict=True))
        return {i: round(units[i] * (1 - one.lost[place - 1])) for i, (one, place) in chosen if place}

    def _shares(self, variants: Sequence[Mapping[int, int]]) -> list[float]:
        """What the variants cost, as parts of what the whole model costs beside them."""
        found = [float(p) for p in self.price([self.whole, *map(self._variant, variants)])]
        if any(not math.isfinite(p) or p <= 0 for p in found):
            raise FlyweightError(
                f"FlyweightError: allocate was told the prices {found}. A price is above 0 and finite."
            )
        self.pace.append(found[0])
        return [p / found[0] for p in found[1:]]

    def _variant(self, kept: Mapping[int, int]) -> nn.Module:
        model, pools = copy.deepcopy((self.model, list(self.found.pools)))
        for index, count in kept.items():
            pools[index].write(strongest(self.found.saliency[index], count))
        for step in self.then:
            model = step.edit(model, self.task)
        return model.eval()

    def _step(self, kept: Mapping[int, int]) -> Prune:
        """The step that leaves ``kept``."""
        gone, total, shares = 0.0, 0.0, []
        for index, (pool, saliency) in enumerate(zip(self.found.pools, self.found.saliency, strict=True)):
            costs: Tensor = pool.parameters.double()[ascending(saliency).to(pool.parameters.device)]
            lost = len(costs) - kept.get(index, len(costs))
            gone, total = gone + float(costs[:lost].sum()), total + float(costs.sum())
            shares.append((pool.name, lost / len(costs)))
        if not gone:
            return dataclasses.replace(self.prune, ratio=0.0)
        told = tuple((name, share) for name, share in shares if share)
        return dataclasses.replace(self.prune, ratio=gone / total, distribution=fixed(told))

    def _unmet(self, limit: float, cost: float, most: float) -> str:
        return (
            f"BudgetError: no allocation costs {limit:g} or less; with {most:.3g} of every layer's units gone it costs "
            f"{cost:.4g}. Allow more, give larger ratios, or exclude less."
        )
