"""What every augmentation of images asks of its inputs and settings, and how it takes kornia in."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from flyweight.core.errors import FlyweightError, MissingExtraError, ShapeError


def check_images(name: str, inputs: Tensor) -> None:
    """Raises :class:`ShapeError` unless ``inputs`` are images ``(N, C, H, W)`` of floating point."""
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise ShapeError(
            f"ShapeError: {name} takes images (N, C, H, W) of floating point, and got shape {tuple(inputs.shape)}, "
            f"{inputs.dtype}. Convert the data first, or leave {name} out of augment."
        )


def check_range(name: str, field: str, value: float, least: float, most: float) -> None:
    """Raises :class:`FlyweightError` unless ``least <= value <= most``."""
    if not least <= value <= most:
        raise FlyweightError(f"FlyweightError: {name} got {field}={value!r}. Give a number from {least:g} to {most:g}.")


def kornia() -> Any:
    """``kornia.augmentation``, loaded when the first image is augmented, for it takes seconds."""
    try:
        import kornia.augmentation
    except ImportError as error:
        raise MissingExtraError(
            "MissingExtraError: augmentation of images needs kornia, which is not installed. "
            'pip install "kornia>=0.9,<0.10"'
        ) from error
    return kornia.augmentation
