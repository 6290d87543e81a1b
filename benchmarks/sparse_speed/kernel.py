"""One layer through the C interface of the kernels: no torch, no ONNX Runtime around it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from flyweight.kernels.abi import ConvSpec, LinearSpec, Matrix, QConvSpec, Window
from flyweight.kernels.library import check, load


def kernel(request: dict[str, Any], arrays: list[Any]) -> tuple[Callable[[], list[Any]], str]:
    """The call of a layer of ``request["spec"]`` on ``arrays`` (x, values, keep, bias, and int8: scale)."""
    spec, library = request["spec"], load()
    x, values, keep, bias, *scale = (np.ascontiguousarray(a) for a in arrays)
    made = ctypes.c_void_p()
    matrix = Matrix(
        *(spec["rows"], spec["inputs"], spec["taps"], *spec["block"]),
        *(values.ctypes.data, values.size, _pointer(keep, ctypes.c_uint8) if keep.size else None, keep.nbytes),
    )
    check(library.fw_set_threads(request["threads"]), "fw_set_threads")
    if spec["op"] == "linear":
        check(
            library.fw_linear_create(
                ctypes.byref(LinearSpec(matrix, _pointer(bias, ctypes.c_float), 0)), ctypes.byref(made)
            ),
            "fw_linear_create",
        )
        y = np.empty((len(x), spec["rows"]), np.float32)
        return _call(library.fw_linear_run, (made, None, len(x), x.ctypes.data, None, y.ctypes.data), [y, x]), _told()
    window = Window(*(spec[name] for name in ("kernel", "kernel", "stride", "stride")), 1, 1, *[spec["pad"]] * 4)
    y = np.empty(spec["output"], x.dtype)
    if spec["op"] == "conv":
        described: Any = ConvSpec(matrix, window, _pointer(bias, ctypes.c_float), 0)
        check(library.fw_conv_create(ctypes.byref(described), ctypes.byref(made)), "fw_conv_create")
        sizes = (x.shape[0], x.shape[2], x.shape[3])
        given = (made, None, *sizes, x.ctypes.data, None, y.ctypes.data)
        return _call(library.fw_image_run, given, [y, x]), _told()
    described = QConvSpec(
        *(matrix, window, _pointer(bias, ctypes.c_int32), _pointer(scale[0], ctypes.c_float)), *spec["range"]
    )
    check(library.fw_qconv_create(ctypes.byref(described), ctypes.byref(made)), "fw_qconv_create")
    given = (made, None, x.shape[0], x.shape[2], x.shape[3], x.ctypes.data, None, y.ctypes.data)
    return _call(library.fw_qimage_run, given, [y, x]), _told()


def _call(function: Any, given: tuple[Any, ...], held: list[Any]) -> Callable[[], list[Any]]:
    """``held`` (first what comes out) lives as long as the call."""

    def call() -> list[Any]:
        if function(*given):
            check(1, function.__name__)
        return held[:1]

    return call


def _pointer(array: Any, kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))


def _told() -> str:
    return f"flyweight {load().fw_path().decode()}"
