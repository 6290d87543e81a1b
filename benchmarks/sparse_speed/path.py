"""Forcing a path of the kernels, and for AVX2 that of all other libraries too."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path


def on_path(path: str | None, out: Path) -> None:
    """Starts this program anew where the kernels' ``path`` needs an environment of its own.

    For ``"avx2"`` that is ``avx2_cap.c``, compiled into the folder ``out``.
    """
    if path is None:
        return
    wanted = {"FLYWEIGHT_KERNELS": path}
    if path == "avx2" and not hasattr(ctypes.CDLL(None), "avx2_cap_holds"):
        cap = out / "avx2_cap.so"
        cap.parent.mkdir(parents=True, exist_ok=True)
        source = Path(__file__).with_name("avx2_cap.c")
        command = ["cc", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", str(source), "-o", str(cap)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"--path avx2 caps all runtimes by avx2_cap.c, which needs a C compiler: {error}"
            ) from error
        wanted["LD_PRELOAD"] = str(cap)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if path == "avx2" and not ctypes.CDLL(None).avx2_cap_holds():
        raise SystemExit("--path avx2: this system does not let a process hide AVX-512 (arch_prctl, CPUID faulting).")
