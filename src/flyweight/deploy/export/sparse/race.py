"""Timing files against each other, in turns and in a fresh process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyweight.core.errors import FlyweightError
from flyweight.deploy.runtimes.open import runtime_name
from flyweight.measure.empty import write_empty
from flyweight.measure.footprint import Bench
from flyweight.measure.inputs import write_inputs

_MOVING = ("ReorderInput", "ReorderOutput")
"""Operations that a dense layer alone needs at its edges, and one among its like does not."""

_TOGETHER = 48
_SECONDS = 0.02

_known: dict[Hashable, tuple[float, ...]] = {}
"""What was timed in this process: equal layers are timed once."""


@dataclass(frozen=True, eq=False)
class Heat:
    """Ways of computing one and the same: ``write`` makes a file of each, the first dense, into a folder; ``key`` tells
    all that their times hang on."""

    key: Hashable
    write: Callable[[Path], Sequence[Path]]


def race(
    heats: Sequence[Heat], inputs: Sequence[Any] | None = None, seconds: float = _SECONDS
) -> list[tuple[float, ...]]:
    """Milliseconds a call of each way of each of ``heats``, on one thread of ONNX Runtime: medians of calls in turns.

    Of a way in plain operations goes the share of its time that it spends on bringing a lone layer's input and output
    into another order. ``inputs`` are those of every file; made from their shapes where None. Raises
    :class:`FlyweightError` where the process that measures died.
    """
    wanted = {heat.key: heat for heat in heats if heat.key not in _known}
    part: list[Heat] = []
    held = 0
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
        files: dict[Hashable, Sequence[Path]] = {}
        for number, heat in enumerate(wanted.values()):
            place = Path(folder) / str(number)
            place.mkdir()
            files[heat.key] = heat.write(place)
            if part and held + len(files[heat.key]) > _TOGETHER:
                _time(part, files, Path(folder), inputs, seconds)
                part, held = [], 0
            part.append(heat)
            held += len(files[heat.key])
        if part:
            _time(part, files, Path(folder), inputs, seconds)
    return [_known[heat.key] for heat in heats]


def _time(
    heats: Sequence[Heat],
    files: dict[Hashable, Sequence[Path]],
    folder: Path,
    inputs: Sequence[Any] | None,
    seconds: float,
) -> None:
    paths = [path for heat in heats for path in files[heat.key]]
    given = None
    if inputs is not None:
        given = str(folder / "inputs.npz")
        write_inputs(inputs, given)
    empty = write_empty(folder / "empty.onnx")
    bench = Bench(runtime=runtime_name("onnxruntime"), seconds=seconds)
    answer = bench.ask("latency", given, len(paths), paths=[str(path) for path in paths], empty=str(empty))
    if answer.found is None:
        raise FlyweightError(f"FlyweightError: {len(paths)} files could not be timed: {answer.why}")
    none = answer.found["empty_call_ms"]
    times = iter(
        max(1e-6, model["latency"]["median_ms"] - none) * (1 - sum(model["time_by_op"].get(op, 0.0) for op in _MOVING))
        for model in answer.found["models"]
    )
    for heat in heats:
        _known[heat.key] = tuple(next(times) for _ in files[heat.key])
