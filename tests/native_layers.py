"""The native library opened once for each instruction set that this processor has, and its float layers as functions of
numpy arrays, for the tests of ``kernels/native``."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flyweight.kernels import abi, library

Array = NDArray[np.float32]
PATHS = ("avx512", "avx2", "portable")


@functools.cache
def open_library(path: str) -> ctypes.CDLL:
    """The library on ``path``, a copy of its own: what a process chooses at first use is kept in each copy."""
    if not library.path().is_file():
        pytest.skip(f"the native library is not built: {library.why_not()}")
    copy = Path(tempfile.mkdtemp(prefix=f"flyweight-{path}-")) / library.NAME
    shutil.copy(library.path(), copy)
    opened = ctypes.CDLL(str(copy))
    shutil.rmtree(copy.parent)
    abi.declare(opened)
    before = os.environ.get("FLYWEIGHT_KERNELS")
    os.environ["FLYWEIGHT_KERNELS"] = path
    try:
        chosen = opened.fw_path()
    finally:
        if before is None:
            del os.environ["FLYWEIGHT_KERNELS"]
        else:
            os.environ["FLYWEIGHT_KERNELS"] = before
    if chosen is None:
        pytest.skip(f"{path}: {opened.fw_error().decode()}")
    return opened


def window(
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> abi.Window:
    return abi.Window(*kernel, *stride, *dilation, *pads)


def pointer(array: Array | None) -> ctypes._Pointer[ctypes.c_float] | None:
    return None if array is None else array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def conv_spec(
    weight: Array, block_rows: int, bias: Array | None, activation: int = 0, place: abi.Window | None = None
) -> abi.ConvSpec:
    """Of ``weight`` (rows, inputs, kernel_h, kernel_w), its blocks of zeros left out."""
    rows, inputs = weight.shape[:2]
    columns = weight.reshape(rows, inputs, -1).transpose(0, 2, 1).reshape(rows, -1)
    padded = np.zeros((-(-rows // block_rows) * block_rows, columns.shape[1]), np.float32)
    padded[:rows] = columns
    tiles = padded.reshape(-1, block_rows, columns.shape[1]).transpose(0, 2, 1)
    kept = (tiles != 0).any(2)
    values, keep = np.ascontiguousarray(tiles[kept]), np.packbits(kept.reshape(-1))
    matrix = abi.Matrix(
        rows,
        inputs,
        columns.shape[1] // inputs,
        block_rows,
        1,
        values.ctypes.data,
        values.size,
        keep.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
        keep.size,
    )
    spec = abi.ConvSpec(matrix, place or window(weight.shape[2:]), pointer(bias), activation)
    spec.alive = (values, keep, bias)
    return spec


def depthwise_spec(weight: Array, bias: Array | None, activation: int, place: abi.Window) -> abi.DepthwiseSpec:
    spec = abi.DepthwiseSpec(len(weight), place, pointer(weight), pointer(bias), activation)
    spec.alive = (weight, bias)
    return spec


@contextmanager
def layer(opened: ctypes.CDLL, kind: str, spec: ctypes.Structure) -> Iterator[ctypes.c_void_p]:
    """A layer made by ``fw_<kind>_create``."""
    made = ctypes.c_void_p()
    check(opened, getattr(opened, f"fw_{kind}_create")(ctypes.byref(spec), ctypes.byref(made)))
    try:
        yield made
    finally:
        opened.fw_layer_free(made)


def run(opened: ctypes.CDLL, made: ctypes.c_void_p, x: Array, residual: Array | None = None) -> Array:
    """The layer on images, with walls of NaN on both sides of the result, which have to stand."""
    size = (ctypes.c_int64 * 3)()
    check(opened, opened.fw_output_size(made, x.shape[2], x.shape[3], size))
    wall = 64
    room = np.full(2 * wall + x.shape[0] * size[0] * size[1] * size[2], np.nan, np.float32)
    y = room[wall:-wall]
    more = None if residual is None else residual.ctypes.data
    check(opened, opened.fw_image_run(made, None, x.shape[0], *x.shape[2:], x.ctypes.data, more, y.ctypes.data))
    assert np.isnan(room[:wall]).all() and np.isnan(room[-wall:]).all(), "written beyond the result"
    return y.reshape(x.shape[0], *size)


def check(opened: ctypes.CDLL, status: int) -> None:
    if status:
        raise ValueError(opened.fw_error().decode())


def activate(x: NDArray[np.float64], activation: int) -> NDArray[np.float64]:
    from scipy.special import erf

    match activation:
        case 1:
            return np.maximum(x, 0)
        case 2:
            return np.clip(x, 0, 6)
        case 3:
            return x * np.clip(x + 3, 0, 6) / 6
        case 4:
            return x * (1 + erf(x / np.sqrt(2))) / 2
    return x


def depthwise_twin(
    x: NDArray[np.float64],
    weight: Array,
    bias: Array | None,
    place: abi.Window,
) -> NDArray[np.float64]:
    """The sums before the activation, tap by tap in float64."""
    padded = np.pad(x, ((0, 0), (0, 0), (place.pad_top, place.pad_bottom), (place.pad_left, place.pad_right)))
    kernel_h, kernel_w = weight.shape[1:]
    height = (padded.shape[2] - (kernel_h - 1) * place.dilation_h - 1) // place.stride_h + 1
    width = (padded.shape[3] - (kernel_w - 1) * place.dilation_w - 1) // place.stride_w + 1
    sums = np.zeros((*x.shape[:2], height, width))
    sums += 0 if bias is None else bias.astype(np.float64)[:, None, None]
    for i in range(kernel_h):
        for j in range(kernel_w):
            top, left = i * place.dilation_h, j * place.dilation_w
            taken = padded[
                :,
                :,
                top : top + height * place.stride_h : place.stride_h,
                left : left + width * place.stride_w : place.stride_w,
            ]
            sums += taken[:, :, :height, :width] * weight[:, i, j].astype(np.float64)[:, None, None]
    return sums
