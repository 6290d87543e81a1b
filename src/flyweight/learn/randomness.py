"""Random numbers of a training run: seeded by epoch, saved in the midst of one, given back when done."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def derived(*parts: object) -> int:
    """A seed of 63 bits from ``parts``: the same in every process and on every machine."""
    text = " ".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def reseed(*parts: object) -> None:
    """Seeds torch on every device, Python's ``random``, and numpy's where it is loaded, from ``parts``."""
    seed = derived(*parts)
    torch.manual_seed(seed)
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)


@contextlib.contextmanager
def preserved(device: torch.device) -> Iterator[None]:
    """Leaves every generator as it was before the block."""
    tensors, plain = snapshot(device)
    try:
        yield
    finally:
        restore(tensors, plain, device)


def snapshot(device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of every generator: torch's as tensors, the others as plain JSON."""
    tensors = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    version, numbers, gauss = random.getstate()
    plain: dict[str, Any] = {"python": [version, list(numbers), gauss]}
    if (numpy := sys.modules.get("numpy")) is not None:
        kind, keys, place, has_gauss, cached = numpy.random.get_state()
        plain["numpy"] = [kind, keys.tolist(), place, has_gauss, cached]
    return tensors, plain


def restore(tensors: dict[str, Tensor], plain: dict[str, Any], device: torch.device) -> None:
    """Sets every generator as :func:`snapshot` found it."""
    torch.set_rng_state(tensors["cpu"].cpu())
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"].cpu(), device)
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    if "numpy" in plain:
        import numpy

        kind, keys, place, has_gauss, cached = plain["numpy"]
        state = (kind, numpy.array(keys, dtype=numpy.uint32), place, has_gauss, cached)
        numpy.random.set_state(state)  # noqa: NPY002 (the generator that transforms still use)
