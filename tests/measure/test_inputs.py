"""Inputs that are made up: the shapes of the file, repeatable, and refused where a guess would be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flyweight.core.errors import ArtifactError, ShapeError
from flyweight.measure.inputs import make_inputs, read_inputs, write_inputs
from flyweight.measure.session import Port


def test_shapes_types_and_values(tmp_path: Path) -> None:
    ports = [Port("x", (None, 3), "float16"), Port("ids", (2, 5), "int64"), Port("mask", (None,), "bool")]
    x, ids, mask = made = make_inputs(ports, batch=4)
    assert (x.shape, x.dtype) == ((4, 3), np.float16)
    assert (ids == 1).all()
    assert ids.shape == (2, 5)
    assert mask.all()
    assert np.array_equal(x, make_inputs(ports, batch=4)[0])
    write_inputs(made, tmp_path / "i.npz")
    assert all(np.array_equal(a, b) for a, b in zip(read_inputs(tmp_path / "i.npz"), made, strict=True))


def test_what_cannot_be_made_up() -> None:
    with pytest.raises(ShapeError, match=r"input x: float32\[\?, \?, 8\] leaves more than its first size open"):
        make_inputs([Port("x", (None, None, 8), "float32")])
    with pytest.raises(ArtifactError, match=r"cannot make up input s: str\[1\]"):
        make_inputs([Port("s", (1,), "str")])
