"""What measuring needs of a runtime: open a file, call it on arrays, say what it takes.

Runtimes stand in ``deploy/runtimes/``, above this room; here is only the shape that they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Port:
    """An input or an output: its name, its shape (None where the size is free) and numpy's name of its type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype}[{sizes}]"


class Session(Protocol):
    """A file opened in a runtime. ``runtime`` tells name and version, ``device`` where it computes (``"cpu"``)."""

    runtime: str
    device: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Computes the outputs for one array an input, in the order of ``inputs``."""
        ...

    def op_times(self, arrays: Sequence[Array], calls: int) -> dict[str, float]:
        """Microseconds that one call spends in each type of operation; empty where the runtime cannot tell."""
        ...


class Runtime(Protocol):
    """Opens a file; raises :class:`~flyweight.core.errors.ArtifactError` for one that it cannot read."""

    def __call__(self, path: Path, threads: int = 1) -> Session: ...
