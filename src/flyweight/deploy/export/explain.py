"""Why a model cannot be exported: the operation, the module, the line, and the way out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn


def explain(
    error: BaseException, model: nn.Module, example: tuple[Tensor, ...], shapes: Any, program: Any | None
) -> str:
    """The text of an ``ExportError`` for ``error``, met when ``model`` was exported with ``example`` and ``shapes``.

    ``program`` is what torch.export made, or None where it failed before.
    """
    told = _all_told(error)
    missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", told)
    tied = re.search(r"marked (\w+) as dynamic but your code specialized it to be a constant \((\d+)\)", told)
    kind = type(model).__name__
    if missing:
        where, line = _of_operation(program, missing[1])
        return (
            f"ExportError: {kind} cannot be exported: {missing[1]}{_in(where, model)}{line}: ONNX has no counterpart "
            "of it. Replace that operation by one that ONNX has, or keep it out of forward."
        )
    where = _of_failure(model, example, shapes) if program is None else ""
    if tied:
        return (
            f"ExportError: {kind} cannot be exported: its forward ties the batch to {tied[2]} examples"
            f"{_in(where, model)}. Write reshapes with x.shape[0] or -1 for the batch, not with a number."
        )
    if program is not None:
        return f"ExportError: {kind} cannot be exported: torch.onnx stopped: {_unwritten(error, model)}"
    reason = _first_line(error)
    return (
        f"ExportError: {kind} cannot be exported: torch.export stopped{_in(where, model)}{_line(told)}: {reason}. "
        "Code that asks for values of tensors (if, len, item, a loop over one) cannot be written to a file: use "
        "torch.where, or decide by shapes."
    )


def _unwritten(error: BaseException, model: nn.Module) -> str:
    """Why a program that torch.export made could not be written: the end of the chain of causes, and the way out."""
    while error.__cause__ is not None:
        error = error.__cause__
    # A program's graph module holds the model's own modules as attributes, beside its own.
    taken = [name for name, _ in model.named_children() if name == "meta" or hasattr(fx.GraphModule, name)]
    way = "Replace what that names by something else, or keep it out of forward."
    if taken:
        way = f"Call the module {taken[0]!r} otherwise: torch.fx has something of its own under that name."
    return f"{_first_line(error).rstrip('.')}. {way}"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _all_told(error: BaseException) -> str:
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(texts) < 8:
        texts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


def _in(name: str, model: nn.Module) -> str:
    if not name or name not in dict(model.named_modules()):
        return ""
    return f" in {name!r} ({type(model.get_submodule(name)).__name__})"


def _line(text: str) -> str:
    home = str(Path(torch.__file__).parent)
    found = [
        entry for entry in re.findall(r'File "([^"]+)", line (\d+), in \w+\n\s*(.+)', text) if home not in entry[0]
    ]
    return f" at {Path(found[-1][0]).name}:{found[-1][1]} ({found[-1][2].strip()})" if found else ""


def _of_operation(program: Any, operation: str) -> tuple[str, str]:
    """The module and the line of the first node that calls ``operation``, such as ``aten.linalg_eig``."""
    for decomposed in (False, True):
        stage = program.run_decompositions() if decomposed else program
        for node in stage.graph.nodes:
            if str(node.target).startswith(operation):
                stack = list(node.meta.get("nn_module_stack", {}).values())
                return (stack[-1][0] if stack else ""), _line(node.meta.get("stack_trace") or "")
    return "", ""


def _of_failure(model: nn.Module, example: tuple[Tensor, ...], shapes: Any) -> str:
    """The innermost module in which torch.export fails, found by trying again with an ear at each door."""
    inside: list[str] = []
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda m, args, name=name: inside.append(name)))
        hooks.append(module.register_forward_hook(lambda m, args, output: inside.pop() and None))
    try:
        torch.export.export(model, example, dynamic_shapes=shapes)
    except Exception:
        return inside[-1] if inside else ""
    finally:
        for hook in hooks:
            hook.remove()
    return ""
