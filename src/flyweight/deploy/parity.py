"""The gate between a model and its file: both must compute the same on the task's data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from flyweight.core.artifact import Artifact
from flyweight.core.errors import ParityError
from flyweight.core.task import Task, batches
from flyweight.deploy.differences import OFF_GRID, Difference, difference
from flyweight.deploy.first_difference import first_difference
from flyweight.deploy.forward import as_forward
from flyweight.deploy.recorded import leaves
from flyweight.deploy.runtimes.open import open_artifact
from flyweight.deploy.still import still
from flyweight.measure.float_nodes import floating_nodes
from flyweight.measure.graph import Graph, read_graph
from flyweight.surgery.device import device_of

_EQUAL_TOP1 = 0.995
_SUSPECTS = 16
"""Examples that are looked at layer by layer when the file has failed: those whose outputs differ most."""

_KEEPS_GRID = frozenset(("Flatten", "Identity", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))


def check_parity(
    model: nn.Module, artifact: Artifact, task: Task, *, runtime: str = "onnxruntime", examples: int = 1024
) -> dict[str, Any]:
    """Compares ``artifact`` with ``model`` in evaluation mode on up to ``examples`` examples all over the select split.

    Of a float file every output must lie within ``TOLERANCES`` (``deploy/differences.py``), relative to the output's
    largest value. Of a file that computes in integers no output may lie more than one step of its grid away (5 % of the
    largest value, where floats stand between integers: a last digit there moves what is rounded next by a step), and
    99.5 % of the largest outputs of ``(N, classes)`` must be the same class (one of fewer than 200 examples may
    differ; where the model has a tie either is right). Returns ``examples``, ``top1_equal`` (None where no output has
    classes), ``max_abs``, ``max_steps`` (None without a grid), ``equal_share`` (of the outputs' numbers) and
    ``runtime``. Raises :class:`ParityError`, naming the first layer that differs and by how much.
    """
    graph = read_graph(artifact.path)
    session = open_artifact(artifact, runtime)
    device = device_of(model)
    data = _spread(task, examples)
    with still(model):
        inputs, expected, found = [], [], []
        for batch in batches(data):
            given = task.inputs(batch)
            inputs.append(given)
            expected.append([t.detach().cpu() for t in leaves(model(*(x.to(device) for x in given)))])
            found.append(leaves(as_forward(session)(*given)))
        wanted = [torch.cat(parts) for parts in zip(*expected, strict=True)]
        got = [torch.cat(parts) for parts in zip(*found, strict=True)]
        _check_shapes(wanted, got, artifact)
        allowed = [_allowed(graph, port.name) for port in session.outputs]
        by = [difference(w, g, *a) for w, g, a in zip(wanted, got, allowed, strict=True)]
        top1 = _top1(wanted[0], got[0])
        result = _told(by, top1, len(wanted[0]), session.runtime)
        wrong = _wrong(by, top1, len(wanted[0]), integer=_integer(graph))
        if wrong:
            order = _worst(wanted, got)[:_SUSPECTS]
            whole = [torch.cat(parts)[order].to(device) for parts in zip(*inputs, strict=True)]
            raise ParityError(_message(wrong, result, model, artifact, whole, runtime))
    return result


def _spread(task: Task, examples: int) -> Subset[Any]:
    data = task.data.select
    total = len(data)  # type: ignore[arg-type]
    # Data often lie class by class, so the first ones alone would show one class.
    chosen = np.unique(np.linspace(0, total - 1, min(examples, total)).round().astype(int)) if total else np.empty(0)
    if not len(chosen):
        raise ParityError(
            f"ParityError: the select split of task {task.name!r} gives no examples to compare on. Give it some."
        )
    return Subset(data, [int(i) for i in chosen])


def _check_shapes(wanted: Sequence[Tensor], got: Sequence[Tensor], artifact: Artifact) -> None:
    shapes = [[tuple(t.shape) for t in side] for side in (wanted, got)]
    if shapes[0] != shapes[1]:
        raise ParityError(
            f"ParityError: {artifact.path.name} gives outputs of shapes {shapes[1]}, and the model {shapes[0]}. "
            "Export it again, from this model."
        )


def _allowed(graph: Graph, output: str) -> tuple[float | None, float | None]:
    """The step of the grid on which ``output`` lies, and the tolerance where it is not one step or its type's."""
    from onnx import numpy_helper

    makers = {name: node for node in graph.nodes for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in _KEEPS_GRID:
        node = makers.get(node.input[0])
    if node is not None and node.op_type == "DequantizeLinear" and node.input[1] in graph.constants:
        scale = numpy_helper.to_array(graph.constants[node.input[1]])
        if scale.size == 1:
            return float(scale.reshape(())), OFF_GRID if floating_nodes(graph) else None
    return None, OFF_GRID if _integer(graph) else None


def _integer(graph: Graph) -> bool:
    return any(node.op_type in ("QuantizeLinear", "QLinearConv", "QLinearMatMul") for node in graph.nodes)


def _top1(wanted: Tensor, got: Tensor) -> float | None:
    if wanted.dim() != 2 or wanted.shape[1] < 2 or not wanted.is_floating_point():
        return None
    chosen = wanted.gather(1, got.argmax(1, keepdim=True)).squeeze(1)
    return float((chosen >= wanted.max(1).values).double().mean())


def _told(by: Sequence[Difference], top1: float | None, examples: int, runtime: str) -> dict[str, Any]:
    steps = [d.steps for d in by if d.steps is not None]
    return {
        "examples": examples,
        "top1_equal": top1,
        "max_abs": max(d.max_abs for d in by),
        "max_steps": max(steps, default=None),
        "equal_share": min(d.share for d in by),
        "runtime": runtime,
    }


def _wrong(by: Sequence[Difference], top1: float | None, examples: int, integer: bool) -> str:
    worst = max(by, key=lambda d: d.excess)
    if worst.steps is not None and worst.excess > 1.01:
        allowed = "1 step is" if worst.allowed == 1 else f"{worst.allowed:.3g} steps are"
        return f"an output differs by {worst} ({allowed} allowed)"
    if worst.steps is None and worst.excess > 1:
        return f"an output differs by {worst} ({worst.tolerance:g} of those is allowed)"
    unequal = max(1, int((1 - _EQUAL_TOP1) * examples))
    if integer and top1 is not None and round((1 - top1) * examples) > unequal:
        equal = f"{100 * top1:.2f} % of {examples} examples"
        return f"only {equal} get the same class ({100 * _EQUAL_TOP1:g} % are asked for)"
    return ""


def _worst(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> Tensor:
    apart = torch.stack([(w.double() - g.double()).abs().flatten(1).amax(1) for w, g in zip(wanted, got, strict=True)])
    return apart.nan_to_num(nan=float("inf")).amax(0).argsort(descending=True)


def _message(
    wrong: str, told: dict[str, Any], model: nn.Module, artifact: Artifact, inputs: list[Tensor], runtime: str
) -> str:
    first = first_difference(model, Path(artifact.path), inputs, runtime)
    if first is None:
        where = "Every layer that could be compared agrees, so it arises in an operation without a module of its own"
    else:
        where = f"The first layer that differs is {first.layer!r} ({first.kind}), by {first.by}"
    integer = _integer(read_graph(artifact.path))
    way = "keep that layer in float, by Quantize's exclude" if integer else "write that layer in other operations"
    return (
        f"ParityError: {artifact.path.name} in {told['runtime']} does not compute what the model computes: {wrong}. "
        f"{where}. Was the file made from this very model? Then {way}, and report it."
    )
