"""Exporting a model to ONNX: float, or with its weights stored as the integers that it was quantized to."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import flyweight
from flyweight.core.artifact import Artifact
from flyweight.core.atomic import atomic_path
from flyweight.core.errors import ExportError
from flyweight.core.task import Task
from flyweight.deploy.export.bitmap import Left, bitmap
from flyweight.deploy.export.explain import explain
from flyweight.deploy.export.keep_float import keep_float
from flyweight.deploy.export.lower import Lowered, lower_
from flyweight.deploy.export.pack import pack
from flyweight.deploy.export.rewrite import rewrite
from flyweight.deploy.export.slim import slim
from flyweight.deploy.export.sparse.sparse import check_kernels, sparse
from flyweight.surgery.quiet import quiet

OPSET = 18
"""The oldest that has all we write, so that the most runtimes read it; see ``_SINCE`` for what asks for more."""

_NARROW = {2: "INT2", 3: "INT4", 4: "INT4"}
_SINCE = {"INT4": 21, "groups": 21, "INT2": 25}


def export_onnx(model: nn.Module, task: Task, path: Path | str, kernels: str = "none") -> Artifact:
    """Writes ``model`` to ``path`` as one ONNX file whose first dimension is any number of examples.

    Batch-norm is folded into the layer before it. The node that yields a module's output is named after that
    module (``features.0``), others have no name. The file is written atomically. ``kernels`` says which layers run on
    the sparse kernels: ``"none"``, for a file that opens anywhere; ``"auto"``, those of many zeros that proved faster
    so on this machine (see :func:`~flyweight.deploy.export.sparse.sparse.sparse`); ``"all"``, every layer that can. A
    file with such layers says in ``needs`` what opening it takes.

    Raises :class:`ExportError`, naming the operation and the module, where the model cannot be exported or a training
    has yet to prune it, and :class:`UnknownNameError` for other ``kernels``.
    """
    check_kernels(kernels)
    _check_decided(model)
    path = Path(path)
    owned = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    example = tuple(_several(t.detach().cpu()) for t in task.example)
    told = lower_(owned)
    widths = {bits: kind for bits, kind in _NARROW.items() if bits in told.weights}
    opset = max([OPSET, *(_SINCE[kind] for kind in widths.values()), _SINCE["groups"] if told.groups else 0])
    proto = _convert(owned, example, opset)
    rewrite(proto, integers=told.activations)
    keep_float(proto)
    ours = sparse(proto, example, kernels)
    left = bitmap(proto, told.blocks, widths)
    left.add(ours.left)
    pack(proto, widths)
    slim(proto)
    _sign(proto)
    with atomic_path(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    notes = (*_notes(told, widths), *_zeros(told, left), *ours.notes)
    return Artifact(path=path, format="onnx", bits=told.bits, notes=notes, needs=ours.needs)


def _check_decided(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if getattr(module, "pending", False) is True:
            owner = name.partition(".parametrizations")[0]
            raise ExportError(
                f"ExportError: {owner!r} is not pruned yet: {type(module).__name__}({module.extra_repr()}) takes away "
                "while a training goes on. Take Train(epochs=…) after the step, with a loop that calls after_step as "
                "Fit does, or prune with schedule=one_shot()."
            )


def _notes(told: Lowered, widths: dict[int, str]) -> tuple[str, ...]:
    notes = []
    quantized = sorted(bits for bits in told.weights if bits < 32)
    for bits in quantized:
        kind = widths.get(bits, "INT8")
        if kind != f"INT{bits}":
            notes.append(f"weights of {bits} bits are stored as {kind.lower()}, the narrowest type there is for them")
        if kind == "INT2":
            notes.append(f"int2 came with opset {_SINCE[kind]}: runtimes older than ONNX Runtime 1.31 may not open it")
    if quantized and told.floats:
        notes.append(f"left in float: {', '.join(told.floats)}")
    if told.clipped:
        notes.append(
            "activations below 8 bits are clipped in float: the runtime's integer kernels are not used for them"
        )
    if told.each:
        notes.append("the model could not be traced: its layers compute in integers, all between them in float")
    if quantized and not told.activations:
        notes.append("weights alone are quantized: the file is smaller, the arithmetic is float")
    return tuple(notes)


def _zeros(told: Lowered, left: Left) -> tuple[str, ...]:
    if not left.weights and not told.blocks:
        return ()
    share = _percent(left.zeros, left.elements) + " of the weights are zeros"
    if not left.weights:
        return (f"{share}, stored like other numbers: with a bitmap in their place the file would be no smaller",)
    part = _percent(left.left, left.zeros)
    gone = "they are" if part == "100 %" else f"{part} of them are"
    blocks = " and ".join(f"{rows}×{columns}" for rows, columns in sorted(left.blocks))
    return (f"{share}: {gone} left out of the file, which holds the other {blocks} blocks and a bitmap",)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.0f} %"


def _several(tensor: Tensor) -> Tensor:
    """Two examples at least: of one, torch.export would take the batch for a constant."""
    return torch.cat([tensor, tensor]) if len(tensor) == 1 else tensor


def _convert(model: nn.Module, example: tuple[Tensor, ...], opset: int) -> Any:
    batch = torch.export.Dim("batch")
    each = tuple({0: batch} for _ in example)
    shapes = (each,) if _variadic(model) else each
    program = None
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(model, example, dynamic_shapes=shapes)
            exported = torch.onnx.export(program, dynamo=True, opset_version=opset, external_data=False, verbose=False)
        except Exception as error:
            raise ExportError(explain(error, model, example, shapes, program)) from error
    assert exported is not None
    return exported.model_proto


def _variadic(model: nn.Module) -> bool:
    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    return kinds[:1] == [inspect.Parameter.VAR_POSITIONAL]


def _sign(proto: Any) -> None:
    proto.producer_name = "flyweight"
    proto.producer_version = flyweight.__version__
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = "flyweight", flyweight.__version__
