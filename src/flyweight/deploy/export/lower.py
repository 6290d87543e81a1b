"""Turning simulated integers into stored ones: what ONNX's QuantizeLinear and DequantizeLinear compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.surgery.activation import Requantize
from flyweight.surgery.chain import links, stored_form
from flyweight.surgery.integer import LAYERS, IntegerLayer
from flyweight.surgery.rounded import Rounded
from flyweight.surgery.stored import Blocks, Codes, Dense
from flyweight.surgery.walk import replace_


@dataclass
class Lowered:
    """What :func:`lower_` stored.

    ``weights`` counts them by their bits: every parameter of two dimensions or more, whatever its name, without what
    masks took away. ``floats`` names the modules that keep such a one in float (or the parameter, where the model
    itself owns it); ``blocks`` are the tiles in which masks took elements away; ``groups`` says if weights have a scale
    a group, ``activations`` if some are rounded, ``clipped`` if to fewer than 8 bits, ``each`` if layers round by
    themselves, with floats between them.
    """

    weights: dict[int, int] = field(default_factory=dict)
    floats: list[str] = field(default_factory=list)
    blocks: set[tuple[int, int]] = field(default_factory=set)
    groups: bool = False
    activations: bool = False
    clipped: bool = False
    each: bool = False

    @property
    def bits(self) -> int:
        """The widest that holds at least half of the weights."""
        total = sum(self.weights.values())
        held = [bits for bits, count in self.weights.items() if 2 * count >= total]
        return max(held, default=32 if not self.weights else max(self.weights, key=lambda b: self.weights[b]))


def lower_(model: nn.Module) -> Lowered:
    """Replaces, in ``model``, chains by their stored form and :class:`Requantize` by operations of ONNX.

    It reads the classes of ``surgery`` alone. The result computes the same where ONNX runs it, and can be exported but
    not run in torch.
    """
    told = Lowered()
    for name, module in list(model.named_modules()):
        told.each |= isinstance(module, Rounded)
        if isinstance(module, Requantize):
            told.activations = True
            told.clipped |= module.codes.bits < 8
            replace_(model, name, _Rounding(module))
        elif isinstance(module, IntegerLayer):
            form = stored_form(module.layer)
            _count(told, name, form)
            replace_(model, name, _Layer(module, _whole(form)))
    seen: set[int] = set()
    for name, module in list(model.named_modules()):
        if isinstance(module, _Stored | _Layer | _Rounding) or "parametrizations" in name.split("."):
            continue
        for key in list(getattr(module, "parametrizations", ())):
            form = stored_form(module, key)
            if _values(form).dim() > 1:
                _count(told, name or key, form)
            if links(module, key):
                stored = _Stored(_whole(form), axis_zero=isinstance(module, nn.Linear))
                # The property that parametrize made calls this entry; its check asks for a list of links, so go
                # around it.
                module.parametrizations._modules[key] = stored
        for key, parameter in module.named_parameters(recurse=False):
            # One that two modules share is stored once.
            if parameter.dim() > 1 and id(parameter) not in seen:
                seen.add(id(parameter))
                _count(told, name or key, Dense(parameter))
    return told


def _values(form: Any) -> Tensor:
    if isinstance(form, Blocks):
        return _values(form.values)
    values: Tensor = form.codes if isinstance(form, Codes) else form.values
    return values


def _whole(form: Any) -> Any:
    """``form`` with its zeros written out: the pass ``bitmap`` leaves them out of the file, wherever they come from."""
    if not isinstance(form, Blocks):
        return form
    inner: Any = form.values
    name = "codes" if isinstance(inner, Codes) else "values"
    return dataclasses.replace(inner, **{name: getattr(inner, name) * form.keep})


def _count(told: Lowered, name: str, form: Any) -> None:
    count = _values(form).numel()
    if isinstance(form, Blocks):
        count = int(form.keep.sum())
        told.blocks.add(form.block)
        form = form.values
    if isinstance(form, Codes):
        bits = form.bits
        told.groups |= form.group is not None
    else:
        bits = 32
        if name not in told.floats:
            told.floats.append(name)
    told.weights[bits] = told.weights.get(bits, 0) + count


def _operation(name: str, inputs: Sequence[Tensor], dtype: torch.dtype, shape: Any, **attributes: int) -> Tensor:
    attrs: dict[str, Any] = dict(attributes)
    result: Tensor = torch.onnx.ops.symbolic(name, inputs, attrs, dtype=dtype, shape=shape, version=1)
    return result


class _Rounding(nn.Module):
    scale: Tensor
    zero: Tensor

    def __init__(self, source: Requantize) -> None:
        super().__init__()
        self.register_buffer("scale", source.scale.clone())
        self.register_buffer("zero", source.zero_point.to(torch.uint8))
        # Below eight bits QuantizeLinear would go on to code 255.
        narrow = source.codes.high < 255
        steps = (-source.zero_point, source.codes.high - source.zero_point)
        self.bounds = [float(s * source.scale) for s in steps] if narrow else None

    def forward(self, x: Tensor, again: bool = False) -> Tensor:
        if self.bounds is not None and not again:
            x = x.clamp(*self.bounds)
        codes = _operation("QuantizeLinear", (x, self.scale, self.zero), torch.uint8, x.shape)
        return _operation("DequantizeLinear", (codes, self.scale, self.zero), torch.float32, x.shape)


class _Stored(nn.Module):
    """A weight in its stored form; calling it gives the weight."""

    scale: Tensor
    zero: Tensor

    def __init__(self, form: Any, axis_zero: bool) -> None:
        super().__init__()
        self.form = None if isinstance(form, Dense) else form
        if isinstance(form, Dense):
            self.register_buffer("values", form.values.clone())
            return
        codes = form.codes
        if form.group is not None:
            codes = codes.reshape(codes.shape[0], -1)
        # The name tells the pass that packs initializers how few bits they need.
        self.name = f"codes{form.bits}"
        self.register_buffer(self.name, codes.clone())
        self.register_buffer("scale", form.scale.clone())
        self.shape = tuple(form.codes.shape)
        # QGemm is chosen only where the weight's zero point is written out; QLinearConv is content without.
        self.register_buffer("zero", torch.zeros(form.scale.shape, dtype=torch.int8) if axis_zero else None)

    def forward(self) -> Tensor:
        form = self.form
        if form is None:
            return self.values  # type: ignore[return-value]
        codes: Tensor = getattr(self, self.name)
        inputs = (codes, self.scale) if self.zero is None else (codes, self.scale, self.zero)
        if form.group is not None:
            attributes = {"axis": 1, "block_size": form.group}
        else:
            attributes = {} if form.axis is None else {"axis": form.axis}
        weight = _operation("DequantizeLinear", inputs, torch.float32, codes.shape, **attributes)
        return weight.reshape(self.shape) if form.group is not None else weight


class _Layer(nn.Module):
    """An :class:`IntegerLayer` with its weight in its stored form, its bias as it is rounded in evaluation."""

    bias: Tensor | None

    def __init__(self, source: IntegerLayer, form: Any) -> None:
        super().__init__()
        layer: Any = source.layer
        bias = source.eval().bias()
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.linear = isinstance(layer, nn.Linear)
        self.stored = _Stored(form, axis_zero=self.linear)
        if not self.linear:
            # Not the layer itself: a parametrized module shares its class, and so its property, with its copies.
            kind = next(k for k in LAYERS if isinstance(layer, k))
            names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
            told = {name: getattr(layer, name) for name in names}
            geometry: Any = kind(**told, bias=False, padding_mode=layer.padding_mode, device="meta")
            geometry.weight = None
            self.geometry = geometry

    @property
    def weight(self) -> Tensor:
        return self.stored.forward()  # no call, for the node of the weight should be the layer's

    def float_bias(self) -> Tensor | None:
        return self.bias

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name, for a model may call by keyword)
        weight = self.weight
        if self.linear:
            return F.linear(input, weight, self.bias)
        result: Tensor = self.geometry._conv_forward(input, weight, self.bias)
        return result
