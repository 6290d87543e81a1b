"""How much energy a call takes, where something counts it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flyweight.core.errors import FlyweightError

_SYS = Path("/sys/class")
_SECONDS = 5.0
"""NVML ticks every 20 to 100 ms, so shorter loops would count ticks."""

_WHOLE = ("socket", "package", "pkg", "soc", "total")
"""What the label of a counter of the whole chip has in it; the cores' own would be counted twice."""


class Counter(Protocol):
    """A counter of energy: ``joules`` only grows between two readings that are less than a minute apart."""

    name: str

    def joules(self) -> float:
        """Joules since some moment."""
        ...


@dataclass(frozen=True)
class Energy:
    """``millijoules`` a call over the idle machine, by ``counter``; None with ``why`` where nothing could be read."""

    millijoules: float | None
    counter: str = ""
    why: str = ""


def find_counter(device: str = "cpu", meter: str | None = None, sys: Path = _SYS) -> tuple[Counter | None, str]:
    """The counter for what ``device`` uses, or None and why there is none.

    Looked for in this order: the graphics processor's own (NVML) where the model runs there, else the chip's (hwmon, of
    its whole) and RAPL; then ``meter``, the dotted name ``module:function`` of a function that returns joules.
    """
    found: list[Callable[[], Counter | str]] = [
        *([lambda: _nvml(device)] if device.startswith("cuda") else [lambda: _hwmon(sys), lambda: _rapl(sys)]),
        *([lambda: _meter(meter)] if meter else []),
    ]
    reasons = []
    for look in found:
        counter = look()
        if not isinstance(counter, str):
            return counter, ""
        reasons.append(counter)
    return None, f"no counter: {'; '.join(reasons)}"


def energy(
    call: Callable[[], object], counter: Counter, seconds: float = _SECONDS, sleep: Callable[[float], None] = time.sleep
) -> Energy:
    """Millijoules a call: the loop's joules less the idle machine's watts × the loop's seconds, over the calls.

    The loop lasts ``seconds`` at least; half as long the machine rests before, and half after, for the idle watts.
    """
    call()
    before = _idle(counter, seconds / 2, sleep)
    calls, start, first = 0, time.perf_counter(), counter.joules()
    while calls == 0 or time.perf_counter() - start < seconds:
        call()
        calls += 1
    spent, taken = counter.joules() - first, time.perf_counter() - start
    idle = (before + _idle(counter, seconds / 2, sleep)) / 2
    joules = spent - idle * taken
    if not joules > 0:
        why = f"{counter.name} counted {spent:.3g} J in {taken:.1f} s, and {idle * taken:.3g} J of the idle machine"
        return Energy(None, counter.name, why)
    return Energy(joules / calls * 1000, counter.name)


def _idle(counter: Counter, seconds: float, sleep: Callable[[float], None]) -> float:
    start, first = time.perf_counter(), counter.joules()
    sleep(seconds)
    return (counter.joules() - first) / (time.perf_counter() - start)


@dataclass
class _Files:
    """Counters in files of microjoules, which start again at 0 after ``ranges``."""

    name: str
    paths: list[Path]
    ranges: list[int | None]

    def __post_init__(self) -> None:
        self._last = [_microjoules(p) for p in self.paths]
        self._over = [0] * len(self.paths)

    def joules(self) -> float:
        for i, path in enumerate(self.paths):
            now = _microjoules(path)
            if now < self._last[i]:
                self._over[i] += self.ranges[i] or self._last[i]
            self._last[i] = now
        return sum(last + over for last, over in zip(self._last, self._over, strict=True)) / 1e6


def _microjoules(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _rapl(sys: Path) -> Counter | str:
    zones = [z for z in sorted(sys.glob("powercap/*-rapl:*")) if _text(z / "name").startswith("package")]
    if not zones:
        return f"no RAPL under {sys}/powercap"
    ranges = [int(_text(z / "max_energy_range_uj") or 0) or None for z in zones]
    try:
        return _Files("RAPL", [z / "energy_uj" for z in zones], ranges)
    except (OSError, ValueError):
        return f"{zones[0]}/energy_uj cannot be read (most systems let only root)"


def _hwmon(sys: Path) -> Counter | str:
    paths = [
        file
        for file in sorted(sys.glob("hwmon/*/energy*_input"))
        if any(word in _text(file.with_name(file.name.replace("_input", "_label"))).lower() for word in _WHOLE)
    ]
    if not paths:
        return f"no energy of the chip under {sys}/hwmon"
    try:
        return _Files("hwmon", paths, [None] * len(paths))
    except (OSError, ValueError):
        return f"{paths[0]} cannot be read (most systems let only root)"


@dataclass
class _Nvml:
    """The energy of one graphics processor since its driver was loaded."""

    name: str
    library: Any
    handle: Any

    def joules(self) -> float:
        return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1000


def _nvml(device: str) -> Counter | str:
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(device.partition(":")[2] or 0))
        counter = _Nvml("NVML", pynvml, handle)
        counter.joules()
    except Exception as error:  # NVML's errors have no class without NVML
        return f"NVML cannot be read ({error})"
    return counter


@dataclass
class _Meter:
    name: str
    joules: Callable[[], float]


def _meter(dotted: str) -> Counter | str:
    module, _, name = dotted.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        float(function())
    except Exception as error:  # the user's own
        raise FlyweightError(
            f"FlyweightError: the meter {dotted!r} cannot be read: {type(error).__name__}: {error}. "
            "Name it module:function, a function without arguments that returns joules."
        ) from error
    return _Meter(dotted, function)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
