"""Peak memory: what was held at the highest, though it was freed, and what is said where nothing can be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyweight.measure.memory import peak_memory

MB = 1 << 20


def test_memory_that_was_freed_again_counts() -> None:
    # In a fresh process: this one has memory at hand from the tests before.
    code = (
        "import numpy as np\n"
        "from flyweight.measure.memory import peak_memory\n"
        "np.ones(200 << 20, np.uint8)\n"  # a peak before the start does not hide what comes
        "def action():\n"
        "    for _ in range(2): np.ones(64 << 20, np.uint8)\n"
        "print(peak_memory(lambda: None).peak_bytes, peak_memory(action).peak_bytes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    nothing, something = map(int, done.stdout.split())
    assert nothing < 2 * MB
    assert 62 * MB < something < 72 * MB


def test_without_a_kernel_that_tells_psutil_does_and_says_so(tmp_path: Path) -> None:
    held = []
    found = peak_memory(lambda: held.append(bytes(80 * MB)), proc=tmp_path / "none")
    assert found.method == "resident after, not at the peak (psutil)"
    assert found.peak_bytes is not None


def test_without_psutil_it_is_none_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    ran = []
    found = peak_memory(lambda: ran.append(1), proc=tmp_path / "none")
    assert found.peak_bytes is None
    assert "clear_refs cannot be written, and psutil is not installed" in found.why
    assert ran == [1]
