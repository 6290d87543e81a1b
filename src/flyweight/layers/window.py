"""How a convolution slides, as the kernels tell it."""

from __future__ import annotations

from typing import Any

from torch import nn

from flyweight.core.errors import UnsupportedError


def window_of(layer: nn.Module) -> tuple[int, ...]:
    """(stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right) of a two-dimensional convolution.

    Raises :class:`UnsupportedError` where ``layer`` is none, or pads with anything but zeros.
    """
    if not isinstance(layer, nn.Conv2d) or type(layer).forward is not nn.Conv2d.forward:
        raise UnsupportedError(
            f"UnsupportedError: a kernel exists for nn.Conv2d and what computes as it does, and this is "
            f"{type(layer).__name__}. Leave the layer dense."
        )
    if layer.padding_mode != "zeros":
        raise UnsupportedError(
            f"UnsupportedError: kernels pad with zeros, and this convolution has padding_mode={layer.padding_mode!r}. "
            "Leave the layer dense."
        )
    return (*layer.stride, *layer.dilation, *_padding(layer))


def _padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Top, left, bottom, right. An odd rest of "same" goes below and to the right, as torch has it."""
    padding: Any = layer.padding
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        first = [one // 2 for one in whole]
        return first[0], first[1], whole[0] - first[0], whole[1] - first[1]
    return padding[0], padding[1], padding[0], padding[1]
