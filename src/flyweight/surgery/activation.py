"""Rounding one tensor to the unsigned integers in which a runtime keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.numerics.affine import affine_grid, fake_quantize
from flyweight.numerics.codes import CodeRange


class Requantize(nn.Module):
    """x̂ = s · (clamp(round(x / s) + z, 0, 2^b − 1) − z): what QuantizeLinear, then DequantizeLinear, make of a tensor.

    While an observer is set (:meth:`observe`), values pass through it unchanged. In evaluation the rounding is always
    on. In training it starts after the fraction ``delay`` of the steps, and the range follows the batches by
    low ← ema · low + (1 − ema) · min(x) until the fraction ``freeze`` (Jacob et al. 2018, section 3.1); with ``ema``
    None the range stays as it was set. Everything that counts is in buffers, so a state dict brings all of it back.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    zero_point: Tensor
    phase: Tensor

    def __init__(self, bits: int = 8, ema: float | None = None, delay: float = 0.0, freeze: float = 0.0) -> None:
        super().__init__()
        self.codes = CodeRange(bits, signed=False)
        self.ema, self.delay, self.freeze = ema, delay, freeze
        self.observer: Callable[[Tensor], None] | None = None
        for name, value in (("low", 0.0), ("high", 1.0), ("scale", 1.0), ("zero_point", 0.0)):
            self.register_buffer(name, torch.tensor(value))
        self.register_buffer("phase", torch.zeros(2, dtype=torch.uint8))
        self.settle(self.low, self.high)
        self._enter(rounding=ema is None or delay <= 0, tracking=ema is not None)

    def observe(self, observer: Callable[[Tensor], None]) -> None:
        """Shows every tensor to ``observer`` from now on, and rounds none, until :meth:`settle`."""
        self.observer = observer

    def settle(self, low: Tensor, high: Tensor) -> None:
        """Sets the range, and from it scale and zero point, and ends the observation."""
        self.observer = None
        scale, zero_point = affine_grid(low, high, self.codes)
        for name, value in (("low", low), ("high", high), ("scale", scale), ("zero_point", zero_point)):
            getattr(self, name).copy_(value)

    def forward(self, x: Tensor, again: bool = False) -> Tensor:
        """``x`` on the grid; ``again`` says that it lies there already, after an operation that moves values only."""
        if self.observer is not None:
            if not again:
                self.observer(x.detach())
            return x
        if self.training:
            if self._tracking and not again:
                self._track(x.detach())
            if not self._rounding:
                return x
        return fake_quantize(x, self.scale, self.zero_point, self.codes)

    @property
    def rounds(self) -> bool:
        """Whether :meth:`forward` would round now."""
        return self.observer is None and (self._rounding or not self.training)

    def after_step(self, progress: Any) -> None:
        """Starts rounding and stops tracking where ``progress`` says that it is time; never the other way."""
        fraction = progress.step / max(1, progress.total)
        self._enter(self._rounding or fraction >= self.delay, self._tracking and fraction < self.freeze)

    def extra_repr(self) -> str:
        """Bits, and the policy where there is one."""
        policy = "" if self.ema is None else f", ema={self.ema}, delay={self.delay}, freeze={self.freeze}"
        return f"bits={self.codes.bits}{policy}"

    @torch.no_grad()
    def _track(self, x: Tensor) -> None:
        assert self.ema is not None
        low, high = torch.aminmax(x)
        low = torch.lerp(low.float(), self.low, self.ema)
        high = torch.lerp(high.float(), self.high, self.ema)
        self.settle(low, high)

    def _enter(self, rounding: bool, tracking: bool) -> None:
        # The flags live in a buffer, for the state dict, and beside it as bools, for reading a buffer on an
        # accelerator waits for it.
        self._rounding, self._tracking = rounding, tracking
        self.phase.copy_(torch.tensor([rounding, tracking], dtype=torch.uint8))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._rounding, self._tracking = (bool(flag) for flag in self.phase.tolist())
