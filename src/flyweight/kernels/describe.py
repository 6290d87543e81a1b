"""Which kernels are in use here, told to a person or to a record of a measurement."""

from __future__ import annotations

import os
from typing import TypedDict

from flyweight.kernels.library import available, load, path, why_not


class Kernels(TypedDict, total=False):
    """``path`` is avx512, avx2, portable or none; ``why`` says why that one, with the way out where it is none."""

    path: str
    why: str
    vnni: bool
    threads: int
    library: str


def describe() -> Kernels:
    """The path that the kernels take on this machine, whether it has products of bytes, the threads, and the library.

    >>> describe()["path"] in ("avx512", "avx2", "portable", "none")
    True
    """
    if not available():
        return {"path": "none", "why": why_not() or ""}
    library = load()
    asked = os.environ.get("FLYWEIGHT_KERNELS")
    return {
        "path": library.fw_path().decode(),
        "why": f"FLYWEIGHT_KERNELS={asked} asks for it" if asked else "the best of this processor",
        "vnni": bool(library.fw_has_vnni()),
        "threads": library.fw_threads(),
        "library": str(path()),
    }
