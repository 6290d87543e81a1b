"""What layers cost at several widths: a table, measured, from which a budget of latency is shared out."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flyweight.core.errors import FlyweightError, UnknownNameError
from flyweight.measure.empty import write_empty
from flyweight.measure.footprint import Bench
from flyweight.measure.geometry import Geometry
from flyweight.measure.layer_file import write_layer
from flyweight.measure.monotone import monotone

_TOGETHER_BYTES = 256_000_000
_TOGETHER = 64
"""Files timed in turns in one process: more would not fit into memory, or wait too long for their turn."""

_MOVING = ("ReorderInput", "ReorderOutput", "Transpose")
"""Operations that a layer alone needs at its edges, and one among its like does not."""


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """``ms``: name → count → milliseconds a call, which never fall as the count rises; ``raw`` as they were measured.

    Each figure is the median of ``runs`` calls or more. What a call takes beside the layers (``empty_call_ms``, in
    ``runtime`` on ``threads`` threads) is not in them.
    """

    ms: Mapping[str, Mapping[int, float]]
    raw: Mapping[str, Mapping[int, float]]
    runs: int
    empty_call_ms: float
    runtime: str
    threads: int

    def at(self, name: str, count: float) -> float:
        """Milliseconds of ``name`` at ``count``: on the line between the two measured counts around it, and beyond
        them those of the nearest. Raises :class:`UnknownNameError`."""
        if name not in self.ms:
            raise UnknownNameError(
                f"UnknownNameError: no cost was measured of {name!r}; of {', '.join(self.ms)} it was."
            )
        known = sorted(self.ms[name].items())
        for (low, less), (high, more) in itertools.pairwise(known):
            if low <= count <= high:
                return less + (more - less) * (count - low) / (high - low)
        return known[0][1] if count < known[0][0] else known[-1][1]


def cost_table(
    groups: Mapping[str, Mapping[int, Sequence[Geometry]]],
    *,
    runtime: str,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 0.05,
    integers: bool = False,
) -> CostTable:
    """Times the layers of each group at each count of units kept, and adds up: ``{group: {count: its layers then}}``.

    Layers are timed alone, each as a file of its own in ``runtime`` (``module:function``), in fresh processes, those
    of equal sizes but once; in a process they take turns, ``seconds`` each. From a layer's median goes what an empty
    call takes and the share of time that it spends on bringing a lone layer's input and output into another order.
    Along the counts the sum is made rise (:func:`~flyweight.measure.monotone.monotone`), lest noise make a wider layer
    the cheaper one; so a count that truly costs more than a larger one (17 channels beside 24) is levelled with it, and
    ``raw`` shows it. The table steers an allocation; what a model takes is measured on its file. Raises
    :class:`FlyweightError` where a measuring process died.
    """
    bench = Bench(runtime=runtime, threads=threads, batch=batch, seconds=seconds)
    wanted = dict.fromkeys(layer for counts in groups.values() for layers in counts.values() for layer in layers)
    alone: dict[Geometry, float] = {}
    runs: list[int] = []
    empties: list[float] = []
    name = ""
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
        empty = write_empty(Path(folder) / "empty.onnx")
        for together in _parts(list(wanted)):
            files = [write_layer(Path(folder) / f"{i}.onnx", layer, integers) for i, layer in enumerate(together)]
            answer = bench.ask("latency", None, len(files), paths=[str(f) for f in files], empty=str(empty))
            if answer.found is None:
                raise FlyweightError(
                    f"FlyweightError: the costs of {len(files)} layers could not be measured: {answer.why}. Give fewer "
                    "counts, or allocate by parameters or MACs."
                )
            name = answer.found["runtime"]
            empties.append(answer.found["empty_call_ms"])
            for layer, model in zip(together, answer.found["models"], strict=True):
                spent = max(0.0, model["latency"]["median_ms"] - empties[-1])
                alone[layer] = spent * (1 - sum(model["time_by_op"].get(op, 0.0) for op in _MOVING))
                runs.append(model["latency"]["n"])
    raw = {
        group: {count: sum(alone[layer] for layer in counts[count]) for count in sorted(counts)}
        for group, counts in groups.items()
    }
    ms = {group: dict(zip(found, monotone(list(found.values())), strict=True)) for group, found in raw.items()}
    return CostTable(
        ms=ms,
        raw=raw,
        runs=min(runs, default=0),
        empty_call_ms=sum(empties) / max(1, len(empties)),
        runtime=name,
        threads=threads,
    )


def _parts(layers: Sequence[Geometry]) -> Iterator[list[Geometry]]:
    """``layers`` in parts that are timed together."""
    part: list[Geometry] = []
    held = 0
    for layer in layers:
        size = 4 * math.prod(layer.weight)
        if part and (len(part) == _TOGETHER or held + size > _TOGETHER_BYTES):
            yield part
            part, held = [], 0
        part.append(layer)
        held += size
    if part:
        yield part
