"""The machine and the versions that a measurement belongs to."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "onnx", "onnxruntime", "openvino", "numpy", "accelerate", "optuna")
"""Libraries whose versions change what is measured."""

ISA = (
    *("sse4_2", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""Instructions that decide how fast small integers and floats are, on x86 and on Arm, oldest first."""


def host() -> dict[str, Any]:
    """The processor, its instructions that matter, cores, memory, system, Python and versions: plain JSON.

    Nothing is imported for it: versions come from the packages' metadata, None where one is not installed.
    """
    model, flags = _cpu()
    return {
        "cpu": model,
        "isa": [name for name in ISA if name in flags],
        "cores": _cores(),
        "memory_bytes": _memory(),
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def _cpu(path: Path = Path("/proc/cpuinfo")) -> tuple[str, frozenset[str]]:
    fields: dict[str, str] = {}
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        fields = {}
    model = fields.get("model name") or fields.get("Hardware") or platform.processor() or platform.machine()
    return model, frozenset((fields.get("flags") or fields.get("Features") or "").split())


def _cores() -> int:
    # What this process may use, which in a container is less than the machine has.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
