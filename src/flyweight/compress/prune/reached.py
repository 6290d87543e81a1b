"""What pruning reached of the ratio that was asked, told where that is another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from flyweight.compress.prune.pool import Pool
from flyweight.core.notes import note

_SEEN = 0.005
"""The difference of ratios below which nobody asks for the reason."""


def gone(pools: Sequence[Pool], distribution: Any) -> float:
    """The fraction that is gone, of all parameters, or of all units where ``distribution`` counts those."""
    return _counted(pools, distribution)[0]


def tell_reached(pools: Sequence[Pool], ratio: float, distribution: Any, before: float = 0.0) -> None:
    """Notes by how much ``pools`` missed ``ratio``, and why, where that is more than half of a unit: no rounding.

    Heads are large, and of these any difference that can be seen is told (half a percent). ``before`` is the fraction
    that was gone before, which does not come back: where that is more than ``ratio``, which counts it, this is told. A
    pool of the user's own may tell the name of its ``units``.
    """
    (got, share), aim = _counted(pools, distribution), max(ratio, before)
    kind = next((str(pool.units) for pool in pools if hasattr(pool, "units")), "units")
    of = kind if _alike(distribution) else f"the parameters of {kind}"
    seen = max(_SEEN, 0.0 if kind == "heads" else share / 2) + 1e-9
    if 0 < ratio < before - seen and got <= before + seen:
        note(
            f"pruning was asked for {_percent(ratio)} of {of}, of which {_percent(before)} had gone before: it took no "
            f"more. What has gone counts in the ratio. Choose one above {before:.4g}, or leave this pruning out."
        )
        return
    if abs(got - aim) <= seen:
        return
    multiple = max(pool.round_to for pool in pools)
    if multiple > 1:
        why, way = f"{kind} that stay come in multiples of {multiple}", "another ratio, or a smaller round_to"
    else:
        why = _reason(pools, kind, share, aim - got, distribution)
        way = f"ratio={got:.4g}, which is met, or a finer structure, such as element()"
    note(f"pruning was asked for {_percent(aim)} of {of}, and took {_percent(got)}: {why}. Choose {way}.")


def _reason(pools: Sequence[Pool], kind: str, share: float, missing: float, distribution: Any) -> str:
    last = [pool for pool in pools if int(pool.kept.sum()) == 1 < len(pool.kept)]
    if missing > 0 and last and kind == "layers":
        return "one layer always stays"
    if missing > 0 and last:
        others = f" and {len(last) - 1} more" if len(last) > 1 else ""
        return f"no layer is emptied, and {last[0].name!r}{others} came down to one of its {kind}"
    if missing > share / 2 + 1e-9:
        return f"{distribution} lets no more go"
    return f"{kind} go whole, and one is {_percent(share)}"


def _counted(pools: Sequence[Pool], distribution: Any) -> tuple[float, float]:
    """The fraction that is gone, and that which the largest unit is."""
    lost, total, largest = 0.0, 0.0, 0.0
    for pool in pools:
        kept = pool.kept.cpu()
        size = torch.ones(len(kept)) if _alike(distribution) else pool.parameters.double().cpu()
        lost, total = lost + float(size[~kept].sum()), total + float(size.sum())
        largest = max(largest, float(size.max()) if len(size) else 0.0)
    return lost / max(1.0, total), largest / max(1.0, total)


def _alike(distribution: Any) -> bool:
    return getattr(distribution, "of", "parameters") == "units"


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
