"""A whole number shared out in proportion, within what each part has room for."""

from __future__ import annotations

from collections.abc import Sequence


def shared_out(total: int, weights: Sequence[float], room: Sequence[int]) -> list[int]:
    """``total`` in whole parts in proportion to ``weights``, none above its ``room``; they sum to ``total``.

    What a part has no room for goes to those that have, equally. Where all weights are zero they count as equal.
    ``total`` is no more than all room together.
    """
    whole = sum(weights)
    parts = [total * (w / whole if whole > 0 else 1 / len(weights)) for w in weights]
    while True:
        excess = sum(max(0.0, p - r) for p, r in zip(parts, room, strict=True))
        parts = [min(p, float(r)) for p, r in zip(parts, room, strict=True)]
        open_ = [i for i, (p, r) in enumerate(zip(parts, room, strict=True)) if p < r]
        if excess <= 1e-9 * total or not open_:
            break
        for i in open_:
            parts[i] += excess / len(open_)
    counts = [int(p) for p in parts]
    by_rest = sorted(range(len(parts)), key=lambda i: counts[i] - parts[i])
    while (missing := total - sum(counts)) > 0:
        for i in [i for i in by_rest if counts[i] < room[i]][:missing]:
            counts[i] += 1
    return counts
