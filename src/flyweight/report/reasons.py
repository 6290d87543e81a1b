"""Why a claim and its delivery part: each reason is read from a measured fact; without a fact there is no reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from flyweight.core.footprint import Footprint
from flyweight.report.units import amount, milliseconds, number, share, times

_TELLING = 0.1
"""A share of a file, of a call or of a difference below a tenth explains nothing worth reading."""
_COUNTED = (
    *("Conv", "Gemm", "MatMul", "Attention", "LSTM", "GRU", "RNN", "Einsum"),
    *("SparseLinear", "SparseBlock", "Depthwise"),
)
_CONVERTING = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "ReorderInput", "ReorderOutput")
_NAMED = 3


def reasons_size(mine: Footprint, base: Footprint, claimed: float | None) -> tuple[str, ...]:
    """Why the file's bytes over the baseline's are not the claimed ratio: the bytes that are no weights."""
    graph, base_graph = _number(mine, "graph_bytes"), _number(base, "graph_bytes")
    size, base_size = mine.size_bytes, base.size_bytes
    if claimed is None or graph is None or base_graph is None or size is None or base_size is None:
        return ()
    if min(size - graph, base_size - base_graph) <= 0:
        return ()
    delivered, alone = base_size / size, (base_size - base_graph) / (size - graph)
    if abs(math.log(alone / claimed)) > (1 - _TELLING) * abs(math.log(delivered / claimed)):
        return ()
    places = _number(mine, "place_bytes") or 0.0
    parts = (
        [f"{amount(places)} of its {amount(size)} tell where its weights stand among zeros left out"] if places else []
    )
    if not places or graph - places >= _TELLING * graph:
        whole = "" if places else f" of its {amount(size)}"
        before = f"({amount(base_graph)} of {amount(base_size)} in the baseline)"
        parts.append(f"{amount(graph - places)}{whole} are the graph and no weights {before}")
    told = f"{' and '.join(parts)}: the weights alone are {times(alone)} smaller"
    closed = max(alone, claimed) <= 1.1 * min(alone, claimed)
    return (told,) if closed else (told, "the rest of the difference is not explained by what was measured")


def reasons_speed(
    mine: Footprint, base: Footprint, claimed: float | None, delivered: float | None, *, skips: bool = False
) -> tuple[str, ...]:
    """Why the time over the baseline's is not the claimed ratio, from the time each type of operation takes.

    Of a point that ``skips`` zeros :func:`~flyweight.report.kernels.reasons_kernels` tells of the time beside the
    multiplications, so that is not told again.
    """
    if claimed is None or delivered is None:
        return ()
    found = [*_noise(mine, base), *(() if skips else _uncounted(mine))]
    if delivered < claimed:
        found += [*_floor(mine), *(() if skips else _not_multiplying(mine)), *_left_in_float(mine)]
    return (*found, *_slowest(mine, base, claimed, delivered))


def reasons_memory(mine: Footprint, base: Footprint, claimed: float | None, delivered: float | None) -> tuple[str, ...]:
    """Why the peak memory over the baseline's is not the claimed ratio: the part of it that no weights can take."""
    if not claimed or not delivered or abs(math.log(delivered)) >= abs(math.log(claimed)):
        return ()  # what stays the same draws a ratio towards 1, and explains nothing else
    size, peak = mine.size_bytes, mine.peak_memory_bytes
    if size is None or peak is None or size > (1 - _TELLING) * peak:
        return ()
    told = f"its whole file is {amount(size)} of the {amount(peak)} at the peak"
    return (f"{told}: the rest is what the runtime and the activations take, which the claim does not count",)


def _noise(mine: Footprint, base: Footprint) -> Iterable[str]:
    if mine.latency_ms is None or base.latency_ms is None or not mine.latency_iqr_ms or not base.latency_iqr_ms:
        return
    apart = abs(mine.latency_ms - base.latency_ms)
    if apart < (mine.latency_iqr_ms + base.latency_iqr_ms) / 2:
        yield (
            f"the two times differ by {milliseconds(apart)}, and their interquartile ranges "
            f"({milliseconds(mine.latency_iqr_ms)} and {milliseconds(base.latency_iqr_ms)}) overlap: this is noise"
        )


def _uncounted(mine: Footprint) -> Iterable[str]:
    names = _names(mine.detail.get("uncounted_ops"))
    timed = _shares(mine)
    spent = {n: timed[n] for n in names if timed.get(n, 0) > 0}
    if sum(spent.values()) >= _TELLING:
        yield f"the count of MACs leaves out {_told(spent)}"


def _floor(mine: Footprint) -> Iterable[str]:
    empty = _number(mine, "empty_call_ms")
    if empty is not None and mine.latency_ms and empty >= _TELLING * mine.latency_ms:
        part = share(min(1.0, empty / mine.latency_ms))
        yield f"a call that computes nothing takes {milliseconds(empty)}, which is {part} of its time"


def _not_multiplying(mine: Footprint) -> Iterable[str]:
    timed = _shares(mine)
    turning = {op: part for op, part in timed.items() if op in _CONVERTING}
    other = {op: part for op, part in timed.items() if op not in _CONVERTING and not _multiplies(op)}
    if sum(turning.values()) >= _TELLING:
        yield f"conversions between number formats take {_told(turning)}"
    if sum(other.values()) >= _TELLING:
        yield f"operations without multiply-accumulates take {_told(other)}: fewer MACs do not shorten them"


def _left_in_float(mine: Footprint) -> Iterable[str]:
    names = _names(mine.detail.get("float_ops"))
    if not names:
        return
    timed = _shares(mine)
    spent = {n: timed[n] for n in names if timed.get(n, 0) > 0}
    if sum(spent.values()) >= _TELLING:
        yield f"operations left in float take {_told(spent)}"
    elif not timed:
        yield f"operations left in float: {', '.join(names[:_NAMED])}{' and more' if len(names) > _NAMED else ''}"


def _slowest(mine: Footprint, base: Footprint, claimed: float, delivered: float) -> Iterable[str]:
    """Where the time goes: the operation that takes most of it, and how much faster it became than in the baseline."""
    timed, before = _by_kind(mine), _by_kind(base)
    if not timed or not mine.latency_ms or not base.latency_ms:
        return
    op, part = max(timed.items(), key=lambda item: item[1])
    if op not in before or part < 0.25 or not before[op]:
        return
    faster = before[op] * base.latency_ms / (part * mine.latency_ms)
    if (faster < claimed / 1.1) if delivered < claimed else (faster > claimed * 1.1):
        yield f"{op}, {share(part)} of its time, became {times(faster)} faster and not {times(claimed)}"


def _by_kind(mine: Footprint) -> dict[str, float]:
    """Shares of the time by what an operation computes: QLinearConv and FusedConv are Conv."""
    kinds: dict[str, float] = {}
    for op, part in _shares(mine).items():
        kind = next((k for k in _COUNTED if k in op), op.removeprefix("QLinear"))
        kinds[kind] = kinds.get(kind, 0.0) + part
    return kinds


def _shares(mine: Footprint) -> dict[str, float]:
    """Each type of operation's part of the time of a call, whether it was kept as parts or as microseconds."""
    given = mine.detail.get("time_by_op")
    if not isinstance(given, Mapping):
        return {}
    timed = {str(op): value for op, v in given.items() if (value := number(v)) is not None and value >= 0}
    total = sum(timed.values())
    if total <= 0:
        return {}
    return timed if total <= 1.01 else {op: v / total for op, v in timed.items()}


def _multiplies(op: str) -> bool:
    return "Gemm" in op or any(name in op for name in _COUNTED)


def _told(parts: Mapping[str, float]) -> str:
    """``31 % of its time (MaxPool 20 %, Relu 11 %)``, the largest first."""
    first = sorted(parts.items(), key=lambda item: -item[1])
    whole = f"{share(sum(parts.values()))} of its time"
    if len(first) == 1:
        return f"{whole} ({first[0][0]})"
    named = ", ".join(f"{op} {share(part)}" for op, part in first[:_NAMED])
    return f"{whole} ({named}{', …' if len(first) > _NAMED else ''})"


def _names(given: Any) -> list[str]:
    if isinstance(given, Mapping):
        return [str(name) for name in given]
    return [str(name) for name in given] if isinstance(given, list | tuple) else []


def _number(mine: Footprint, name: str) -> float | None:
    return number(mine.detail.get(name))
