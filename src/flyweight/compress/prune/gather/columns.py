"""A layer's input as the matrix that its weight multiplies."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import UnsupportedError

MATRICES: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The layers whose output is a weight, as a matrix, times what :func:`columns` makes of the input."""


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """X, an input ``x`` of ``layer`` as ``(examples, places, groups, columns)``: its output is X·Wᵀ at each place.

    ``columns`` runs as ``weight.flatten(1)`` does: the inputs of one group, each with its kernel. A linear layer has
    one group, and all dimensions of ``x`` between the first and the last are its places; a convolution's are the
    positions of its output, ``x`` padded as the layer pads, strided and dilated.
    Raises :class:`UnsupportedError` for another kind of layer.
    """
    if isinstance(layer, nn.Linear):
        rows = x.reshape(1, 1, -1) if x.dim() == 1 else x.reshape(x.shape[0], -1, x.shape[-1])
        return rows.unsqueeze(2)
    windows, dims = _windows(layer, x)
    groups: int = layer.groups  # type: ignore[assignment]
    n, channels = windows.shape[:2]
    grouped = windows.reshape(n, groups, channels // groups, *windows.shape[2:])
    # (n, groups, channels of one, places …, kernel …) → (n, places …, groups, channels of one, kernel …)
    places, kernel = range(3, 3 + dims), range(3 + dims, 3 + 2 * dims)
    ordered = grouped.permute(0, *places, 1, 2, *kernel)
    return ordered.flatten(1, dims).flatten(3)


def column_squares(layer: nn.Module, x: Tensor) -> Tensor:
    """Σ X_j² over all examples and places, ``(groups, columns)``: that of :func:`columns`, without making it."""
    if isinstance(layer, nn.Linear):
        return x.double().square().reshape(-1, x.shape[-1]).sum(0).unsqueeze(0)
    windows, dims = _windows(layer, x.double().square())
    groups: int = layer.groups  # type: ignore[assignment]
    return windows.sum((0, *range(2, 2 + dims))).reshape(groups, -1)


def _windows(layer: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """A view ``(examples, channels, places …, kernel …)`` of the padded input, and how many dimensions are places."""
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise UnsupportedError(
            f"UnsupportedError: {type(layer).__name__} does not multiply its input by a matrix; those that do are "
            f"{', '.join(kind.__name__ for kind in MATRICES)}. Score it by magnitude() or taylor(), or exclude it."
        )
    conv: Any = layer
    dims = len(conv.kernel_size)
    x = x if x.dim() == dims + 2 else x.unsqueeze(0)
    padding = list(conv._reversed_padding_repeated_twice)
    if any(padding):
        x = F.pad(x, padding) if conv.padding_mode == "zeros" else F.pad(x, padding, mode=conv.padding_mode)
    for dim, (size, stride, dilation) in enumerate(zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)):
        x = x.unfold(2 + dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
    return x, dims
