"""When quantization enters training, and when statistics stop moving."""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.core.errors import FlyweightError


@dataclass(frozen=True)
class Aware:
    """Quantization-aware training: the policies of the :class:`~flyweight.learn.train.Train` that follows.

    ``ema`` is the share of a range that each batch keeps; ``delay`` the fraction of the steps before activations are
    rounded, while ranges find their place; ``freeze`` the fraction after which ranges and batch-norm statistics stand
    still (Jacob et al. 2018, arXiv 1712.05877, section 3; Krishnamoorthi 2018, arXiv 1806.08342, section 3.2.3).
    """

    ema: float = 0.99
    delay: float = 0.2
    freeze: float = 0.7

    def __post_init__(self) -> None:
        for name, value in (("ema", self.ema), ("delay", self.delay), ("freeze", self.freeze)):
            if not 0 <= value <= 1:
                raise FlyweightError(f"FlyweightError: Aware({name}={value!r}) is no fraction. Give one from 0 to 1.")
