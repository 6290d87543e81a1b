"""One cut: from saliency and a ratio to the units that go."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyweight.compress.prune.evidence import Evidence, Score
from flyweight.compress.prune.pool import Pool, strongest


@dataclass(frozen=True, eq=False)
class Judged:
    """Pools with the saliency of their units, −∞ for those that are gone already."""

    pools: Sequence[Pool]
    saliency: Sequence[Tensor]

    def keep(self, fractions: Sequence[float]) -> list[Tensor]:
        """The units that each pool keeps when it loses its fraction: those of the greatest saliency."""
        pairs = zip(self.saliency, counts(self.pools, fractions), strict=True)
        return [strongest(saliency, count) for saliency, count in pairs]


@torch.no_grad()
def judged(pools: Sequence[Pool], score: Score, evidence: Callable[[Pool], Mapping[str, Evidence]]) -> Judged:
    """The saliency of the units of ``pools`` by ``score``; ``evidence`` gives that on a pool, by parameters' names.

    Pools that have nothing that the score reads are left out (a channel without batch-norm, where that is scored).
    """
    read, found = [], []
    for pool in pools:
        names = [name for _, _, name in pool.reads(score.reads)]
        if not names:
            continue
        told, kept = evidence(pool), pool.kept
        together = getattr(pool, "together", None)  # of blocks alone
        seen = {name: dataclasses.replace(told[name], together=together) for name in names}
        saliency = pool.saliency({name: score(one) for name, one in seen.items()})
        read.append(pool)
        found.append(saliency.masked_fill(~kept.to(saliency.device), -math.inf))
    return Judged(read, found)


def counts(pools: Sequence[Pool], fractions: Sequence[float]) -> list[int]:
    """How many units each pool keeps when it loses its fraction: at least one, and none that is gone already.

    All together lose ``Σ fraction · units``, to the nearest unit: what rounding leaves over goes by the largest
    remainder, and what a pool has lost beyond its fraction already is spared elsewhere. A pool whose kept units come
    in multiples is rounded to the nearest of them.
    """
    units = [len(pool.kept) for pool in pools]
    gone = [int((~pool.kept).sum()) for pool in pools]
    wanted = [fraction * count for fraction, count in zip(fractions, units, strict=True)]
    most = [max(count - 1, lost) for count, lost in zip(units, gone, strict=True)]
    lose = [min(max(math.floor(w + 1e-9), g), m) for w, g, m in zip(wanted, gone, most, strict=True)]
    missing = math.floor(math.fsum(wanted) + 0.5 - 1e-9) - sum(lose)
    while missing:
        way = 1 if missing > 0 else -1
        open_ = [i for i in range(len(units)) if (lose[i] < most[i] if way > 0 else lose[i] > gone[i])]
        if not open_:
            break
        # The nearest to its share first; of equals the earlier.
        for i in sorted(open_, key=lambda i: way * (lose[i] - wanted[i]))[: abs(missing)]:
            lose[i] += way
            missing -= way
    return [_rounded(u - x, u, g, pool.round_to) for u, x, g, pool in zip(units, lose, gone, pools, strict=True)]


def _rounded(keep: int, units: int, gone: int, multiple: int) -> int:
    """``keep`` as the nearest multiple, at least one of them; all units, where none go or they are too few."""
    if multiple == 1 or keep == units:
        return keep
    left = units - gone
    nearest = max(1, (2 * keep + multiple) // (2 * multiple)) * multiple
    if nearest <= left:
        return nearest
    return left if gone == 0 or left < multiple else left // multiple * multiple
