"""The C interface of the sparse kernels as ctypes sees it: ``native/include/flyweight_kernels.h``, line for line."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int, c_int8, c_int32, c_int64, c_uint8, c_void_p

FW_ABI = 2
"""The version of the interface that the structures below mirror; ``fw_abi()`` of a library has to be the same."""

ACTIVATIONS = ("", "Relu", "Relu6", "HardSwish", "Gelu")
"""The activations as files name them, each at its number in ``fw_activation``."""

Task = ctypes.CFUNCTYPE(None, c_void_p, c_int64)
"""``task(argument, index)``, which a pool calls."""

Run = ctypes.CFUNCTYPE(None, c_void_p, c_int64, Task, c_void_p)
"""``run(context, tasks, task, argument)`` of a pool."""


class Pool(Structure):
    """``fw_pool``: who carries the work out."""

    _fields_ = (("threads", c_int32), ("context", c_void_p), ("run", Run))


class Matrix(Structure):
    """``fw_matrix``: a weight as its kept tiles and one bit a tile."""

    _fields_ = (
        ("rows", c_int64),
        ("inputs", c_int64),
        ("taps", c_int64),
        ("block_rows", c_int32),
        ("block_columns", c_int32),
        ("values", c_void_p),
        ("value_count", c_int64),
        ("keep", POINTER(c_uint8)),
        ("keep_bytes", c_int64),
    )


class Window(Structure):
    """``fw_window``: kernel, stride, dilation and padding."""

    _fields_ = tuple(
        (name, c_int32)
        for name in (
            *("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"),
            *("pad_top", "pad_left", "pad_bottom", "pad_right"),
        )
    )


class ConvSpec(Structure):
    """``fw_conv_spec``."""

    _fields_ = (("weight", Matrix), ("window", Window), ("bias", POINTER(c_float)), ("activation", c_int32))


class LinearSpec(Structure):
    """``fw_linear_spec``."""

    _fields_ = (("weight", Matrix), ("bias", POINTER(c_float)), ("activation", c_int32))


class DepthwiseSpec(Structure):
    """``fw_depthwise_spec``."""

    _fields_ = (
        ("channels", c_int64),
        ("window", Window),
        ("weight", POINTER(c_float)),
        ("bias", POINTER(c_float)),
        ("activation", c_int32),
    )


class BlockSpec(Structure):
    """``fw_block_spec``: expand, depthwise, project, and what is added."""

    _fields_ = (
        ("expand", POINTER(ConvSpec)),
        ("depthwise", POINTER(DepthwiseSpec)),
        ("project", POINTER(ConvSpec)),
        ("residual", c_int32),
    )


_REQUANTIZE = (
    ("bias", POINTER(c_int32)),
    ("scale", POINTER(c_float)),
    ("x_zero", c_uint8),
    ("y_zero", c_uint8),
    ("y_low", c_uint8),
    ("y_high", c_uint8),
)


class QMeanSpec(Structure):
    """``fw_qmean_spec``."""

    _fields_ = (
        ("channels", c_int64),
        ("x_scale", c_float),
        ("y_scale", c_float),
        ("x_zero", c_uint8),
        ("y_zero", c_uint8),
    )


class QAddSpec(Structure):
    """``fw_qadd_spec``."""

    _fields_ = (
        *((name, c_float) for name in ("a_scale", "b_scale", "y_scale")),
        *((name, c_uint8) for name in ("a_zero", "b_zero", "y_zero", "y_low", "y_high")),
    )


class QConvSpec(Structure):
    """``fw_qconv_spec``."""

    _fields_ = (
        ("weight", Matrix),
        ("window", Window),
        *_REQUANTIZE,
        ("sum", POINTER(QAddSpec)),
        ("sum_second", c_int32),
    )


class QDepthwiseSpec(Structure):
    """``fw_qdepthwise_spec``."""

    _fields_ = (("channels", c_int64), ("window", Window), ("weight", POINTER(c_int8)), *_REQUANTIZE)


class QMaxPoolSpec(Structure):
    """``fw_qmaxpool_spec``."""

    _fields_ = (("channels", c_int64), ("window", Window))


class AttentionSpec(Structure):
    """``fw_attention_spec``."""

    _fields_ = (
        *((name, c_int64) for name in ("batch", "queries", "keys", "heads", "size")),
        *((name, c_int64) for name in ("q_token", "k_token", "v_token", "mask_batch", "mask_head", "mask_query")),
        ("scale", c_float),
    )


_LAYER = c_void_p
_SIZES = (c_int64, c_int64, c_int64)
_BYTES = (POINTER(Pool), *_SIZES, c_void_p, c_void_p)

# Tensors are c_void_p, so that Tensor.data_ptr() and numpy's .ctypes.data go in as they are.
FUNCTIONS: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "fw_abi": (c_int, ()),
    "fw_error": (c_char_p, ()),
    "fw_path": (c_char_p, ()),
    "fw_has_vnni": (c_int, ()),
    "fw_threads": (c_int, ()),
    "fw_set_threads": (c_int, (c_int,)),
    "fw_conv_create": (c_int, (POINTER(ConvSpec), POINTER(_LAYER))),
    "fw_linear_create": (c_int, (POINTER(LinearSpec), POINTER(_LAYER))),
    "fw_depthwise_create": (c_int, (POINTER(DepthwiseSpec), POINTER(_LAYER))),
    "fw_block_create": (c_int, (POINTER(BlockSpec), POINTER(_LAYER))),
    "fw_qconv_create": (c_int, (POINTER(QConvSpec), POINTER(_LAYER))),
    "fw_qdepthwise_create": (c_int, (POINTER(QDepthwiseSpec), POINTER(_LAYER))),
    "fw_qmaxpool_create": (c_int, (POINTER(QMaxPoolSpec), POINTER(_LAYER))),
    "fw_qmean_create": (c_int, (POINTER(QMeanSpec), POINTER(_LAYER))),
    "fw_qblock_create": (c_int, (_LAYER, _LAYER, _LAYER, POINTER(_LAYER))),
    "fw_layer_free": (None, (_LAYER,)),
    "fw_output_size": (c_int, (_LAYER, c_int64, c_int64, POINTER(c_int64))),
    "fw_image_run": (c_int, (_LAYER, POINTER(Pool), *_SIZES, c_void_p, c_void_p, c_void_p)),
    "fw_block_run": (
        c_int,
        (_LAYER, POINTER(Pool), *_SIZES, c_void_p, c_int64, c_void_p, POINTER(c_int64)),
    ),
    "fw_linear_run": (c_int, (_LAYER, POINTER(Pool), c_int64, c_void_p, c_void_p, c_void_p)),
    "fw_qimage_run": (c_int, (_LAYER, POINTER(Pool), *_SIZES, c_void_p, c_void_p, c_void_p)),
    "fw_qadd_run": (c_int, (POINTER(Pool), POINTER(QAddSpec), c_int64, c_void_p, c_void_p, c_void_p)),
    "fw_pack4": (c_int, _BYTES),
    "fw_quantize4": (c_int, (POINTER(Pool), *_SIZES, c_void_p, c_float, c_uint8, c_void_p)),
    "fw_unpack4": (c_int, _BYTES),
    "fw_attention_run": (c_int, (POINTER(Pool), POINTER(AttentionSpec), *[c_void_p] * 5)),
    "fw_layer_norm_run": (c_int, (POINTER(Pool), c_int64, c_int64, c_float, *[c_void_p] * 4)),
    "fw_attention_turned_run": (c_int, (POINTER(Pool), POINTER(AttentionSpec), *[c_void_p] * 5)),
    "fw_layer_norm_turned_run": (c_int, (POINTER(Pool), c_int64, c_int64, c_int64, c_float, *[c_void_p] * 4)),
    "fw_tiles_file": (c_int, (c_char_p,)),
    "fw_peak_gflops": (c_double, ()),
    "fw_peak_int8_gops": (c_double, ()),
    "fw_read_gbytes": (c_double, (c_int64,)),
}
"""What each function gives back, and what it takes."""


def declare(library: ctypes.CDLL) -> list[str]:
    """Tells ctypes the types of every function of ``library``; gives the names that it has not."""
    missing = []
    for name, (result, arguments) in FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            missing.append(name)
            continue
        function.restype, function.argtypes = result, arguments
    return missing
