"""Inputs for a file that nobody brought data for, made from the shapes that it names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight.core.errors import ArtifactError, ShapeError
from flyweight.measure.session import Port

if TYPE_CHECKING:
    from flyweight.measure.session import Array


def make_inputs(ports: Sequence[Port], batch: int = 1, seed: int = 0) -> list[Array]:
    """One array an input: standard normal floats, ones for whole numbers (a valid index and an open mask), true.

    A free leading dimension is ``batch``; a fixed one stays. Raises :class:`ShapeError` where another is free,
    :class:`ArtifactError` for a type that cannot be made up.
    """
    random = np.random.default_rng(seed)
    return [_array(port, batch, random) for port in ports]


def read_inputs(path: Path | str) -> list[Array]:
    """The arrays that :func:`write_inputs` wrote."""
    with np.load(path, allow_pickle=False) as found:
        return [found[f"input_{i}"] for i in range(len(found.files))]


def write_inputs(arrays: Sequence[Array], path: Path | str) -> None:
    """Writes ``arrays``, in order, to an ``.npz`` file."""
    np.savez(path, allow_pickle=False, **{f"input_{i}": a for i, a in enumerate(arrays)})


def _array(port: Port, batch: int, random: np.random.Generator) -> Array:
    shape = tuple(batch if size is None and place == 0 else size for place, size in enumerate(port.shape))
    if None in shape:
        raise ShapeError(
            f"ShapeError: input {port} leaves more than its first size open, so flyweight cannot make one up. "
            "Give inputs=[...], one numpy array an input."
        )
    sizes = tuple(size for size in shape if size is not None)
    try:
        kind = np.dtype(port.dtype)
    except TypeError:
        kind = np.dtype("O")
    if kind.kind == "f":
        return random.standard_normal(sizes, dtype=np.float32).astype(kind)
    if kind.kind in "iub":
        return np.ones(sizes, dtype=kind)
    raise ArtifactError(
        f"ArtifactError: flyweight cannot make up input {port}. Give inputs=[...], one numpy array an input."
    )
