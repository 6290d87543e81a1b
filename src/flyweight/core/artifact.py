"""An artifact: a file that a runtime opens, and what is known of it without opening it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A deployable file.

    ``path`` is the file; ``format`` says what it is (``"onnx"``); ``bits`` is the width of the stored weights
    (the widest that holds at least half of them); ``notes`` are remarks of the exporter, such as operations left in
    float; ``needs`` tells what opening it takes beside its runtime, such as the library of the sparse kernels.
    """

    path: Path
    format: str = "onnx"
    bits: int = 32
    notes: tuple[str, ...] = field(default=())
    needs: tuple[str, ...] = field(default=())
