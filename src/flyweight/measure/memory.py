"""How much memory something takes at its peak, over what the process held before."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc/self")


@dataclass(frozen=True)
class Memory:
    """``peak_bytes`` over the start, by ``method``; where it could not be read None, with ``why``."""

    peak_bytes: int | None
    method: str = ""
    why: str = ""


def peak_memory(action: Callable[[], object], proc: Path = _PROC) -> Memory:
    """Runs ``action`` and tells by how much the resident memory of this process rose at its highest.

    On Linux the kernel's own high-water mark (VmHWM) is set back before, by writing 5 to ``/proc/self/clear_refs``, and
    read after. Elsewhere psutil tells what is resident before and after, which misses what was freed between, and
    the method says so. A process that has done the like before has memory at hand: take a fresh one.
    """
    gc.collect()
    if _reset(proc):
        before = _high_water(proc)
        action()
        after = _high_water(proc)
        if before is not None and after is not None:
            return Memory(max(0, after - before), "VmHWM, reset before")
    try:
        import psutil
    except ImportError:
        action()
        return Memory(None, why=f"{proc}/clear_refs cannot be written, and psutil is not installed")
    process = psutil.Process()
    before = process.memory_info().rss
    action()
    return Memory(max(0, process.memory_info().rss - before), "resident after, not at the peak (psutil)")


def _reset(proc: Path) -> bool:
    try:
        (proc / "clear_refs").write_bytes(b"5")
    except OSError:
        return False
    return True


def _high_water(proc: Path) -> int | None:
    try:
        lines = (proc / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
