"""Random numbers of a training run: seeded anew for each optimizer step, given back when done."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sys
from collections.abc import Iterator

import torch


def derived(*parts: object) -> int:
    """A seed of 63 bits from ``parts``: the same in every process and on every machine."""
    text = " ".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def reseed(device: torch.device, *parts: object) -> None:
    """Seeds torch on the CPU and on ``device``, Python's ``random``, and numpy's where it is loaded, from ``parts``."""
    seed = derived(*parts)
    if device.type in ("cpu", "cuda"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every kind of device: ten times the time
        if device.type == "cuda":
            torch.cuda.manual_seed_all(seed)
    else:
        torch.manual_seed(seed)
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)


@contextlib.contextmanager
def preserved(device: torch.device) -> Iterator[None]:
    """Leaves every generator as it was before the block: torch's on the CPU and on ``device``, Python's, numpy's."""
    before = torch.get_rng_state()
    there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    plain = random.getstate()
    numpys = None if (numpy := sys.modules.get("numpy")) is None else numpy.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if there is not None:
            torch.cuda.set_rng_state(there, device)
        random.setstate(plain)
        if numpys is not None:
            sys.modules["numpy"].random.set_state(numpys)
