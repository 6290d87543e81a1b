"""The layers of ``sparse_speed.py``, each alone: 1×1 of MobileNetV2, 3×3 of ResNet-18, linears of MiniLM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.kernels.matrix import pack
from flyweight.models.mobilenet_v2 import STAGES

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
    """A convolution on a square image of ``size``, or (kernel 0) a linear on ``size`` tokens."""

    net: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    size: int

    @property
    def name(self) -> str:
        """Such as ``24->144 1x1 56`` and ``384->1536 128 tokens``."""
        if not self.kernel:
            return f"{self.inputs}->{self.outputs} {self.size} token{'s' if self.size > 1 else ''}"
        return (
            f"{self.inputs}->{self.outputs} {self.kernel}x{self.kernel} {self.size}{'/2' if self.stride == 2 else ''}"
        )

    @property
    def places(self) -> int:
        """Columns of the product: pixels of the output, or tokens."""
        return (self.size // self.stride) ** 2 if self.kernel else self.size

    @property
    def macs(self) -> int:
        """Of the dense layer."""
        return self.inputs * self.outputs * max(1, self.kernel) ** 2 * self.places

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what comes in."""
        return (1, self.inputs, self.size, self.size) if self.kernel else (self.size, self.inputs)


def layers() -> list[Layer]:
    """Each size of layer once."""
    found, inputs, size = [], 32, 112
    for expansion, outputs, repeats, stride in STAGES:
        for place in range(repeats):
            inner = inputs * expansion
            if expansion != 1:
                found.append(Layer("mobilenet_v2", inputs, inner, 1, 1, size))
            size //= 1 if place else stride
            found.append(Layer("mobilenet_v2", inner, outputs, 1, 1, size))
            inputs = outputs
    found.append(Layer("mobilenet_v2", inputs, 1280, 1, 1, size))
    for inputs, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        if inputs != 64:
            found.append(Layer("resnet18", inputs // 2, inputs, 3, 2, 2 * size))
        found.append(Layer("resnet18", inputs, inputs, 3, 1, size))
    for tokens in (128, 16, 1):
        for inputs, outputs in ((384, 384), (384, 1536), (1536, 384)):
            found.append(Layer("minilm", inputs, outputs, 0, 1, tokens))
    return list(dict.fromkeys(found))


def weight(layer: Layer, block: tuple[int, int], sparsity: float, seed: int = 0) -> torch.Tensor:
    """Normal numbers, the blocks of least magnitude gone; a block lies within one place of the kernel."""
    k = max(1, layer.kernel)
    generator = torch.Generator().manual_seed(seed)
    full = torch.randn(layer.outputs, layer.inputs, k, k, generator=generator) / (layer.inputs * k * k) ** 0.5
    r, c = block
    tall = F.pad(full, (0, 0, 0, 0, 0, -layer.inputs % c, 0, -layer.outputs % r))
    grid = tall.reshape(tall.shape[0] // r, r, tall.shape[1] // c, c, k * k)
    size = grid.abs().sum((1, 3))
    gone = round(sparsity * size.numel())
    keep = torch.ones(size.numel())
    keep[size.flatten().argsort()[:gone]] = 0
    grid = grid * keep.reshape(size.shape)[:, None, :, None, :]
    return grid.reshape(tall.shape)[: layer.outputs, : layer.inputs]


def torch_layer(layer: Layer) -> nn.Module:
    """The dense layer, as LiteRT's converter takes it."""
    dense, bias = weight(layer, (1, 1), 0.0), torch.full((layer.outputs,), 0.5)
    made: nn.Module
    if layer.kernel:
        made = nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.kernel // 2)
    else:
        made, dense = nn.Linear(layer.inputs, layer.outputs), dense.flatten(1)
    made.load_state_dict({"weight": dense, "bias": bias})
    return made.eval().requires_grad_(False)


def image(layer: Layer) -> Array:
    """What the layer is called on."""
    found: Array = torch.randn(layer.shape, generator=torch.Generator().manual_seed(1)).numpy()
    return found


def kernel_inputs(layer: Layer, block: tuple[int, int], sparsity: float, path: Path) -> tuple[dict[str, Any], int]:
    """Writes x, values, keep and bias for ``kernel.py``; gives its spec, and the numbers kept."""
    pruned = weight(layer, block, sparsity)
    values, keep = pack(pruned, block)
    k = max(1, layer.kernel)
    spec: dict[str, Any] = {"op": "conv" if layer.kernel else "linear", "block": block}
    spec |= {"rows": layer.outputs, "inputs": layer.inputs, "taps": k * k, "kernel": k, "stride": layer.stride}
    side = layer.size // layer.stride
    spec |= {"pad": k // 2, "output": (1, layer.outputs, side, side)}
    bias = np.full(layer.outputs, 0.5, np.float32)
    np.savez(path, a_x=image(layer), b_values=values.numpy(), c_keep=keep.numpy(), d_bias=bias)
    return spec, int(values.numel())


def reference(layer: Layer, block: tuple[int, int], sparsity: float) -> Array:
    """What it has to give, in float64."""
    pruned, x = weight(layer, block, sparsity).double(), torch.from_numpy(image(layer)).double()
    bias = torch.full((layer.outputs,), 0.5, dtype=torch.float64)
    found: Array
    if layer.kernel:
        found = F.conv2d(x, pruned, bias, layer.stride, layer.kernel // 2).numpy()
    else:
        found = F.linear(x, pruned.flatten(1), bias).numpy()
    return found


_X_SCALE, _W_SCALE, _Y_SCALE, _X_ZERO, _Y_ZERO = 0.02, 0.002, 0.04, 128, 120


def integers(layer: Layer, sparsity: float) -> tuple[Array, Array, Array]:
    """x (uint8, channels as ever), weights (int8, in blocks of 4×4), bias (int32)."""
    x = np.clip(np.rint(image(layer) / _X_SCALE) + _X_ZERO, 0, 255).astype(np.uint8)
    full = weight(layer, (4, 4), sparsity).numpy()
    scaled = full * (127 / np.abs(full).max())
    return x, np.rint(scaled).astype(np.int8), np.full(layer.outputs, 100, np.int32)


def integer_inputs(layer: Layer, sparsity: float, path: Path) -> tuple[dict[str, Any], int]:
    """As :func:`kernel_inputs`, of the integer layer; x in the kernels' own order (``c4``)."""
    x, w, bias = integers(layer, sparsity)
    values, keep = pack(torch.from_numpy(w.astype(np.int16)), (4, 4))
    k, side = layer.kernel, layer.size // layer.stride
    padded = np.zeros((1, -(-layer.inputs // 4) * 4, layer.size, layer.size), np.uint8)
    padded[:, : layer.inputs] = x
    c4 = padded.reshape(1, -1, 4, layer.size, layer.size).transpose(0, 1, 3, 4, 2)
    spec: dict[str, Any] = {"op": "qconv", "block": (4, 4), "rows": layer.outputs, "inputs": layer.inputs}
    spec |= {"taps": k * k, "kernel": k, "stride": layer.stride, "pad": k // 2}
    spec |= {"output": (1, -(-layer.outputs // 4), side, side, 4), "range": (_X_ZERO, _Y_ZERO, 0, 255)}
    scale = np.full(layer.outputs, np.float32(_X_SCALE * _W_SCALE / _Y_SCALE), np.float32)
    arrays = {"a_x": np.ascontiguousarray(c4), "b_values": values.numpy().astype(np.int8), "c_keep": keep.numpy()}
    np.savez(path, **arrays, d_bias=bias, e_scale=scale)
    return spec, int(values.numel())


def integer_reference(layer: Layer, sparsity: float) -> Array:
    """What the integer layer has to give, as c4."""
    x, w, bias = integers(layer, sparsity)
    image_ = torch.from_numpy(x.astype(np.float64)) - _X_ZERO
    acc = F.conv2d(image_, torch.from_numpy(w.astype(np.float64)), None, layer.stride, layer.kernel // 2)
    total = acc.numpy().astype(np.int32) + bias[None, :, None, None]
    scaled = np.rint(total.astype(np.float32) * np.float32(_X_SCALE * _W_SCALE / _Y_SCALE))
    y = np.clip(scaled + _Y_ZERO, 0, 255).astype(np.uint8)
    side = layer.size // layer.stride
    padded = np.zeros((1, -(-layer.outputs // 4) * 4, side, side), np.uint8)
    padded[:, : layer.outputs] = y
    found: Array = padded.reshape(1, -1, 4, side, side).transpose(0, 1, 3, 4, 2)
    return found


def write_layer_onnx(layer: Layer, path: Path, int8: bool) -> None:
    """The dense layer as a file of one operation; int8: between uint8 images, as QLinearConv computes it."""
    from onnx import TensorProto, helper, numpy_helper, save

    k, side = layer.kernel, layer.size // layer.stride
    shape, out = list(layer.shape), [1, layer.outputs, side, side] if k else [layer.size, layer.outputs]
    around = {"kernel_shape": [k, k], "strides": [layer.stride] * 2, "pads": [k // 2] * 4}
    constants: dict[str, Array] = {}
    if int8:
        _, w, bias = integers(layer, 0.0)
        constants |= {"w": w, "b": bias, "xz": np.uint8(_X_ZERO), "yz": np.uint8(_Y_ZERO)}
        constants |= {"xs": np.float32(_X_SCALE), "ys": np.float32(_Y_SCALE)}
        constants |= {"ws": np.full(layer.outputs, _W_SCALE, np.float32), "wz": np.zeros(layer.outputs, np.int8)}
        constants |= {"bs": np.full(layer.outputs, _X_SCALE * _W_SCALE, np.float32)}
        constants |= {"bz": np.zeros(layer.outputs, np.int32)}
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
            helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bf"], axis=0),
            helper.make_node("Conv", ["xf", "wf", "bf"], ["yf"], **around),
            helper.make_node("QuantizeLinear", ["yf", "ys", "yz"], ["y"]),
        ]
    else:
        dense = weight(layer, (1, 1), 0.0).numpy()
        constants["b"] = np.full(layer.outputs, 0.5, np.float32)
        if k:
            constants["w"] = dense
            nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], **around)]
        else:
            constants["w"] = np.ascontiguousarray(dense.reshape(layer.outputs, layer.inputs).T)
            nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    kind = TensorProto.UINT8 if int8 else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, out)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


class Negative(nn.Module):
    """What :func:`write_empty_onnx` writes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """-x."""
        return -x


def write_empty_onnx(path: Path) -> None:
    """A file that computes nothing of account: what a call of a runtime costs besides."""
    from onnx import TensorProto, helper, save

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "empty", ports[:1], ports[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
