"""Which layer of a file is the first not to compute what the model's does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.deploy.differences import Difference, difference
from flyweight.deploy.forward import as_forward
from flyweight.deploy.runtimes.open import open_artifact
from flyweight.measure.float_nodes import floating_nodes
from flyweight.measure.graph import Graph, read_graph
from flyweight.surgery.activation import Requantize
from flyweight.surgery.integer import IntegerLayer

_MOVES = frozenset(
    (
        *("QuantizeLinear", "DequantizeLinear", "MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"),
        *("Identity", "Relu", "Clip"),
    )
)
"""What a difference passes through unchanged on its way from the layer that made it to the grid where it shows."""

_PLAIN = 2.0
"""Times the allowed difference from which a layer is certainly wrong; less may come from the layers before it."""


@dataclass(frozen=True)
class First:
    """The first ``layer`` that differs, its ``kind`` (the module's class), and ``by`` how much."""

    layer: str
    kind: str
    by: Difference


def first_difference(model: nn.Module, path: Path, inputs: Sequence[Tensor], runtime: str) -> First | None:
    """The first layer of the file that differs from ``model``'s module of its name on ``inputs``, or None.

    Both run with what lies between exposed: in the file each node is named after the module whose output it gives
    (see ``deploy/export/slim.py``), in the model a hook keeps each module's last output. Of a quantized file the
    integers are exposed and not the sums before them, for a runtime that has to show those computes otherwise.
    ``model`` must be in evaluation mode.
    """
    graph = read_graph(path)
    shown = _shown(graph, model)
    if not shown:
        return None
    expected = _by_model(model, {s.module for s in shown}, inputs)
    found = _by_file(path, shown, inputs, runtime)
    differing = []
    for s in shown:
        reference = expected.get(s.module)
        if reference is None or s.tensor not in found or reference.shape != found[s.tensor].shape:
            continue
        values = found[s.tensor]
        if s.step is not None:
            values = (values.to(torch.float64) - s.zero) * s.step
        by = difference(reference, values, s.step)
        if by.excess > 1:
            differing.append(First(s.layer, _kind(model.get_submodule(s.layer)), by))
    return next((d for d in differing if d.by.excess > _PLAIN), differing[0] if differing else None)


def _kind(module: nn.Module) -> str:
    name = type(module).__name__.removeprefix("Parametrized")
    # The exporter folds it, and the node of the two has its name.
    return f"{name}, and the layer that it was folded into" if name.startswith("BatchNorm") else name


@dataclass(frozen=True)
class _Shown:
    """A tensor of the file, the module that it is the output of, and the layer that a difference in it blames."""

    tensor: str
    module: str
    layer: str
    step: float | None = None
    zero: float = 0.0


def _shown(graph: Graph, model: nn.Module) -> list[_Shown]:
    known = dict(model.named_modules())
    makers = {name: node for node in graph.nodes for name in node.output}
    floats = {id(node) for node in floating_nodes(graph)}
    found = []
    for node in graph.nodes:
        module = known.get(node.name) if node.name else None
        if module is None or not _gives_its_own(module):
            continue
        if node.op_type == "DequantizeLinear":
            scale, zero = _grid(node, graph)
            if scale is not None and node.input[0] in makers:
                layer = _blamed(node, makers, known) or node.name
                found.append(_Shown(node.input[0], node.name, layer, scale, zero))
        elif id(node) in floats:
            found.append(_Shown(node.output[0], node.name, node.name))
    return found


def _gives_its_own(module: nn.Module) -> bool:
    # What a container gives may come from a module inside it, though a node of its own is named after it.
    parts = [name for name, _ in module.named_children() if name != "parametrizations"]
    return not parts or isinstance(module, IntegerLayer | Requantize)


def _grid(node: Any, graph: Graph) -> tuple[float | None, float]:
    from onnx import numpy_helper

    values = [numpy_helper.to_array(graph.constants[n]) for n in node.input[1:] if n in graph.constants]
    # A float layer's input repeats its scale (see deploy/export/keep_float.py).
    if not values or any(value.min() != value.max() for value in values):
        return None, 0.0
    return float(values[0].flat[0]), float(values[1].flat[0]) if len(values) > 1 else 0.0


def _blamed(node: Any, makers: dict[str, Any], known: dict[str, Any]) -> str:
    while node is not None and (node.op_type in _MOVES or not node.name):
        if node.op_type not in _MOVES:
            return ""
        node = makers.get(node.input[0])
    return node.name if node is not None and node.name in known else ""


def _by_model(model: nn.Module, names: set[str], inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[name] = output.detach().cpu()

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in hooks:
            handle.remove()
    return outputs


def _by_file(path: Path, shown: Sequence[_Shown], inputs: Sequence[Tensor], runtime: str) -> dict[str, Tensor]:
    import onnx

    model = onnx.load(path)
    given = {v.name for v in model.graph.output}
    names = list(dict.fromkeys(s.tensor for s in shown if s.tensor not in given))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
        file = Path(folder) / "exposed.onnx"
        onnx.save(model, file)
        session = open_artifact(file, runtime)
        results = as_forward(session)(*inputs)
    tensors = results if isinstance(results, tuple) else (results,)
    return {port.name: tensor for port, tensor in zip(session.outputs, tensors, strict=True)}
