"""A file with one layer in it, to be timed alone.

It stands here and not with the exporters: those turn models into files that ship, and need torch; this one is made of
sizes alone, is thrown away once it was timed, and has weights that nobody trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flyweight.measure.geometry import Geometry

_OPSET, _IR = 18, 8
_SCALE = 0.05
"""Of activations and weights in integers; a layer takes as long with any."""


def write_layer(path: Path, layer: Geometry, integers: bool = False) -> Path:
    """Writes an ``.onnx`` file of ``layer``, with a bias and random weights, for any number of examples.

    With ``integers`` weights are int8 and activations uint8, between QuantizeLinear and DequantizeLinear as the
    exporter writes them; the file takes and gives the integers, so that nothing but the layer is timed.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weight = random.standard_normal(layer.weight, dtype=np.float32) / np.float32(np.sqrt(np.prod(layer.weight[1:])))
    bias = np.zeros(layer.weight[0], np.float32)
    kind = TensorProto.UINT8 if integers else TensorProto.FLOAT
    x, y, w = ("x.f", "y.f", "w.f") if integers else ("x", "y", "w")
    nodes = _layer(layer, x, w, y)
    rows = len(layer.weight) == 2 and len(layer.input) > 1
    if rows:  # stored as the product reads it
        weight = np.ascontiguousarray(weight.T)
    constants: dict[str, Any] = {"w": weight, "b": bias}
    if integers:
        codes = np.clip(np.rint(weight / np.abs(weight).max() * 127), -127, 127).astype(np.int8)
        zero = np.zeros(layer.weight[0], np.int8)
        constants |= {"w": codes, "s": np.float32(_SCALE), "z": np.uint8(128)}
        constants |= {"ws": np.full(layer.weight[0], _SCALE, np.float32), "wz": zero}
        before = [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], [x]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], [w], axis=1 if rows else 0),
        ]
        nodes = [*before, *nodes, helper.make_node("QuantizeLinear", [y, "s", "z"], ["y"])]
    ports = [
        helper.make_tensor_value_info(name, kind, ["n", *shape])
        for name, shape in (("x", layer.input), ("y", layer.output))
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR), path)
    return path


def _layer(layer: Geometry, x: str, w: str, y: str) -> list[Any]:
    from onnx import helper

    if len(layer.weight) > 2:
        given = {"strides": layer.stride, "pads": layer.padding, "dilations": layer.dilation}
        told: dict[str, Any] = {name: list(value) for name, value in given.items() if value}
        return [helper.make_node("Conv", [x, w, "b"], [y], group=layer.groups, **told)]
    if len(layer.input) == 1:
        return [helper.make_node("Gemm", [x, w, "b"], [y], transB=1)]
    return [helper.make_node("MatMul", [x, w], ["p"]), helper.make_node("Add", ["p", "b"], [y])]
