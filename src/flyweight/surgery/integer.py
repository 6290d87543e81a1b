"""A convolution or linear layer as integer kernels compute it: integer weights, int32 bias."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.activation import Requantize
from flyweight.surgery.chain import attach
from flyweight.surgery.fake_quantize import FakeQuantize
from flyweight.surgery.rescale import Rescale

LAYERS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Linear)
"""The layers that integer kernels exist for."""

_BIAS_LIMIT = 2.0**30
"""Half of int32: the other half is for the sum of products."""
_FACTOR_FLOOR = 1e-6


def is_layer(module: nn.Module) -> bool:
    """Whether ``module`` computes what one of :data:`LAYERS` does (a sub-class with its own ``forward`` may not)."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in LAYERS)


class IntegerLayer(nn.Module):
    """``layer`` with weights rounded by ``link``, and its bias as the runtime keeps it: an int32 at scale s_x·s_w.

    b̂ = round(b / (s_x·s_w)) · (s_x·s_w), where s_x is the scale of the :class:`Requantize` that its input went
    through, named by :meth:`attach` (it belongs to the model, not to this module); no rounding without one. The
    weight's scale is kept so large that |b| / (s_x·s_w) ≤ 2^30.

    With ``norm``, the batch-norm that follows is folded before the weight is rounded: w·γ/√(σ²+ε), by the running
    variance. In training the batch's own statistics normalise, as without quantization, and keep the running ones up;
    after the fraction ``freeze`` of the steps, and in evaluation, the running ones do
    (Krishnamoorthi 2018, arXiv 1806.08342, section 3.2.3).
    """

    live: Tensor

    def __init__(
        self,
        layer: nn.Module,
        link: FakeQuantize,
        norm: nn.Module | None = None,
        freeze: float = 1.0,
    ) -> None:
        super().__init__()
        if not is_layer(layer):
            raise UnsupportedError(
                f"UnsupportedError: {type(layer).__name__} has no integer kernel; those that have are "
                f"{', '.join(kind.__name__ for kind in LAYERS)}. Exclude the layer."
            )
        self.layer, self.norm, self.freeze = layer, norm, freeze
        # In tuples, for an nn.Module attribute would become a sub-module.
        self._source: tuple[Requantize | None] = (None,)
        self._target: tuple[Requantize | None] = (None,)
        self.register_buffer("live", torch.tensor(norm is not None, dtype=torch.uint8))
        self._live = norm is not None
        if norm is not None:
            attach(layer, Rescale(self.factor))
        link.floor = self.floor
        attach(layer, link)
        self.link = (link,)

    @property
    def source(self) -> Requantize | None:
        """What rounds the input."""
        return self._source[0]

    @property
    def weight(self) -> Tensor:
        """The layer's weight, rounded."""
        weight: Tensor = self.layer.weight  # type: ignore[assignment]
        return weight

    def attach(self, source: Requantize, target: Requantize | None = None) -> None:
        """Names what rounds the input, and what rounds the output next, but for a ReLU between, where that is one."""
        self._source, self._target = (source,), (target,)

    def factor(self) -> Tensor:
        """γ / √(σ² + ε), one an output channel."""
        norm: Any = self.norm
        sigma: Tensor = (norm.running_var + norm.eps).sqrt()
        return sigma.reciprocal() if norm.weight is None else norm.weight / sigma

    def float_bias(self) -> Tensor | None:
        """The bias with batch-norm folded in, before rounding."""
        bias: Tensor | None = self.layer.bias  # type: ignore[assignment]
        if self.norm is None:
            return bias
        norm: Any = self.norm
        shifted = -norm.running_mean if bias is None else bias - norm.running_mean
        folded: Tensor = shifted * self.factor()
        return folded if norm.bias is None else folded + norm.bias

    def floor(self) -> Tensor | None:
        """The least scale of each output channel's weights at which its bias fits an int32."""
        bias = self.float_bias()
        if bias is None or self.source is None:
            return None
        return bias.detach().abs().float() / (self.source.scale * _BIAS_LIMIT)

    def bias(self, weight_scale: Tensor | None = None) -> Tensor | None:
        """The bias as the runtime computes with it, its gradient that of the float one."""
        bias = self.float_bias()
        if bias is None or self.source is None or not self.source.rounds:
            return bias
        if weight_scale is None:
            weight_scale = self.weight_scale()
        step = self.source.scale * weight_scale
        exact = bias.detach().float()
        rounded = (exact / step).round() * step
        return bias + (rounded - exact).to(bias.dtype) if bias.requires_grad else rounded

    def weight_scale(self) -> Tensor:
        """The weight's scale: one value, or one an output channel."""
        chain: Any = self.layer.parametrizations
        weight = chain.weight.original
        with torch.no_grad():
            for link in list(chain.weight)[:-1]:
                weight = link(weight)
            link = self.link[0]
            scale = link.scale(link.granularity.rows(weight))
        return _one_each(scale)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name, for a model may call by keyword)
        """The layer's output, and that of its batch-norm where it has one."""
        if self.norm is None or not self._live or not self.training:
            weight: Any = self.layer.weight
            scale = _one_each(self.link[0].latest)
            if self.source is not None and self.source.rounds and not torch.is_grad_enabled():
                return self._in_codes(input, weight, scale)
            return self._apply_layer(input, weight, self.bias(scale))
        factor = self.factor()
        factor = torch.where(factor.abs() < _FACTOR_FLOOR, torch.full_like(factor, _FACTOR_FLOOR), factor)
        product = self._apply_layer(input, self.layer.weight, None)  # type: ignore[arg-type]
        plain = product / factor.reshape(-1, *(1,) * (product.dim() - 2))
        if self.layer.bias is not None:
            plain = plain + self.layer.bias.reshape(-1, *(1,) * (product.dim() - 2))  # type: ignore[operator]
        normed: Tensor = self.norm(plain)
        return normed

    def after_step(self, progress: Any) -> None:
        """Freezes the batch-norm's statistics where ``progress`` says that it is time."""
        if self._live and progress.step / max(1, progress.total) >= self.freeze:
            self._live = False
            self.live.zero_()

    def _in_codes(self, x: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
        """The same in the runtime's order: whole numbers are summed, exactly, then scaled once to the output's grid.

        Sums of scaled values would differ in the last bit, and a value that lies between two codes go the other way;
        the layers behind make more of it.
        """
        assert self.source is not None
        target = self._target[0]
        step = self.source.scale * weight_scale
        bias = self.float_bias()
        codes = None if bias is None else (bias.float() / step).round()
        # Not in the precision of autocast: sums of codes are beyond the largest float16.
        with torch.autocast(x.device.type, enabled=False):
            whole = (weight.float() / _along(weight_scale, weight.dim(), 0)).round()
            total = self._apply_layer((x.float() / self.source.scale).round(), whole, codes)
        dim = total.dim() - 1 if isinstance(self.layer, nn.Linear) else 1
        if target is None or not target.rounds:
            return (total * _along(step, total.dim(), dim)).to(x.dtype)
        return ((total * _along(step / target.scale, total.dim(), dim)).round() * target.scale).to(x.dtype)

    def _apply_layer(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        layer: Any = self.layer
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, bias)
        result: Tensor = layer._conv_forward(x, weight, bias)
        return result

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._live = bool(self.live.item())


def _one_each(scale: Tensor) -> Tensor:
    return scale.reshape(-1) if scale.numel() > 1 else scale.reshape(())


def _along(scale: Tensor, dims: int, dim: int) -> Tensor:
    return scale if scale.dim() == 0 else scale.reshape([-1 if d == dim else 1 for d in range(dims)])
