"""The strategy that prunes: the frontier of several ratios."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from flyweight.compress.prune.distributions.earliest import check_ratio
from flyweight.core.errors import FlyweightError
from flyweight.core.task import Task
from flyweight.search.candidate import Candidate, Terms
from flyweight.search.chain import chain

RATIOS = (0.3, 0.5, 0.7, 0.85)
SPARSE_RATIOS = (0.5, 0.7, 0.8, 0.9)
"""Of what leaves zeros behind: sparse kernels gain from a half or so on."""


@dataclass(frozen=True)
class pruned:
    """The baseline pruned by each of ``ratios``, as ``how`` says, in float and in its integers.

    Both share their training, but for what :class:`kernel_blocks` leaves, which are other blocks in integers. The
    baseline in integers comes first, then the middle ratio, then its neighbours, so a search that is stopped early has
    something to show. For a budget instead of ratios take :class:`until`; for files that run on the sparse kernels
    ``pruned(SPARSE_RATIOS, chain(structure=kernel_blocks()))``.
    """

    ratios: tuple[float, ...] = RATIOS
    how: chain = chain()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(self.ratios))
        for ratio in self.ratios:
            check_ratio(ratio)
        if not isinstance(self.how, chain):
            raise FlyweightError(
                f"FlyweightError: pruned got how={self.how!r}. Give chain(…), as in pruned(how=chain(tuning=1.0))."
            )

    def __call__(self, task: Task, terms: Terms | None = None) -> Iterator[Candidate]:
        """The candidates for ``task``."""
        left = sorted({ratio for ratio in self.ratios if ratio})
        middle = left[len(left) // 2] if left else 0.0
        for ratio in (0.0, *sorted(left, key=lambda r: (abs(r - middle), r))):
            for bits in dict.fromkeys((self.how.bits, None)):
                if ratio or bits is not None:
                    how = dataclasses.replace(self.how, bits=bits)
                    yield Candidate(label=how.label(ratio, task), recipe=how(ratio, task))
