"""A layer of the native library, and its calls on torch's tensors."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from flyweight.kernels import abi
from flyweight.kernels.library import available, check, load


class Layer:
    """What ``fw_<kind>_create`` makes of ``spec``, freed with this object.

    The library copies what it is told, so ``spec`` and the tensors behind it may go. Raises
    :class:`~flyweight.core.errors.KernelsError` for a description that contradicts itself.
    """

    __slots__ = ("_library", "_sizes", "handle", "kind")

    def __init__(self, kind: str, spec: ctypes.Structure) -> None:
        self.kind, self._library, self.handle = kind, load(), ctypes.c_void_p()
        self._sizes: dict[torch.Size, tuple[int, ...]] = {}
        check(getattr(self._library, f"fw_{kind}_create")(ctypes.byref(spec), ctypes.byref(self.handle)), kind)

    def __del__(self) -> None:
        if self.handle:
            self._library.fw_layer_free(self.handle)

    def size(self, told: Callable[..., tuple[int, ...]], x: Tensor, *arguments: Any) -> tuple[int, ...]:
        """``told(x, *arguments)``, the checked size of the result, which is asked once for each size of ``x``."""
        size = self._sizes.get(x.shape)
        if size is None:
            if len(self._sizes) >= _MOST_SIZES:
                self._sizes.clear()
            size = self._sizes[x.shape] = told(x, *arguments)
        return size

    def run_image(self, x: Tensor, residual: Tensor | None, y: Tensor) -> Tensor:
        """Fills ``y``, which has no gaps, from the images ``x`` and ``residual``; returns it."""
        _follow_threads(self._library)
        x = x.contiguous()
        if residual is not None:
            residual = residual.contiguous()
        batch, _, height, width = x.shape
        added = None if residual is None else residual.data_ptr()
        status = self._library.fw_image_run(self.handle, None, batch, height, width, x.data_ptr(), added, y.data_ptr())
        if status:
            check(status, self.kind)
        return y

    def run_tokens(self, x: Tensor, residual: Tensor | None, y: Tensor) -> Tensor:
        """Fills ``y`` (…, rows), which has no gaps, from ``x`` (…, inputs) and ``residual``; returns it."""
        _follow_threads(self._library)
        x = x.contiguous()
        if residual is not None:
            residual = residual.contiguous()
        added = None if residual is None else residual.data_ptr()
        tokens = x.numel() // x.shape[-1]
        status = self._library.fw_linear_run(self.handle, None, tokens, x.data_ptr(), added, y.data_ptr())
        if status:
            check(status, self.kind)
        return y


_MOST_SIZES = 64


def native(*tensors: Tensor | None) -> bool:
    """Whether the library computes on ``tensors``: it is there, and they are float32 on the CPU."""
    for tensor in tensors:
        if tensor is not None and (tensor.dtype is not torch.float32 or not tensor.is_cpu):
            return False
    return _usable()


def matrix(values: Tensor, keep: Tensor, shape: Sequence[int], block: Sequence[int]) -> abi.Matrix:
    """``fw_matrix`` of tensors without gaps, which have to live until the layer is made."""
    taps = shape[2] * shape[3] if len(shape) == 4 else 1
    bits = ctypes.cast(keep.data_ptr(), ctypes.POINTER(ctypes.c_uint8)) if keep.numel() else None
    return abi.Matrix(
        shape[0], shape[1], taps, block[0], block[1], values.data_ptr() or None, values.numel(), bits, keep.numel()
    )


def floats(tensor: Tensor | None) -> Any:
    """The pointer to a tensor's float32 values, or None."""
    return None if tensor is None else ctypes.cast(tensor.data_ptr(), ctypes.POINTER(ctypes.c_float))


@functools.cache
def _usable() -> bool:
    return available()


_threads = 0


def _follow_threads(library: ctypes.CDLL) -> None:
    """The library's own pool has as many threads as torch's."""
    global _threads
    asked = torch.get_num_threads()
    if asked != _threads:
        check(library.fw_set_threads(asked), "fw_set_threads")
        _threads = asked
