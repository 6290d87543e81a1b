"""Where the time of a call goes, by type of operation: why a model is not faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flyweight.measure.session import Array, Session

_SECONDS = 0.3
_MOST_CALLS, _FEWEST_CALLS = 100, 5


def time_by_op(session: Session, arrays: Sequence[Array], call_ms: float) -> dict[str, float]:
    """The share of a call's time by type of operation, largest first, as the runtime tells for the graph that it runs.

    ``{"QLinearConv": 0.6, "MaxPool": 0.2, …}`` adds up to 1; empty where the runtime cannot tell. ``call_ms`` is the
    time of a call, from which the number of profiled calls follows: about a third of a second of them.
    """
    calls = round(min(_MOST_CALLS, max(_FEWEST_CALLS, _SECONDS * 1000 / max(call_ms, 1e-3))))
    times = session.op_times(arrays, calls)
    total = sum(times.values())
    if not total > 0:
        return {}
    shares = {op: round(time / total, 4) for op, time in sorted(times.items(), key=lambda item: -item[1])}
    return {op: share for op, share in shares.items() if share}
