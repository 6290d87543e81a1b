"""The contract that every step keeps, and the pairs of them too."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.core.errors import FlyweightError
from flyweight.core.key import model_key
from flyweight.core.pretrained import from_pretrained, save_pretrained
from flyweight.core.recipe import run
from flyweight.core.serial import from_json, to_json
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.parity import check_parity
from flyweight.deploy.runtimes.open import runtime_name
from flyweight.kernels.library import available
from flyweight.measure.footprint import footprints
from flyweight.measure.graph import read_graph
from flyweight.measure.parameters import zero_share

IDENTITY_TOLERANCE = 1e-4
"""Relative to the largest output: what folding batch-norm and reordering float32 sums may change."""

_MANY = 0.3
"""The share of zeros from which a model's file is also made for the sparse kernels."""

_BRIEFLY_S = 0.05
"""Seconds of timing an artifact whose latency nobody promised."""


class ContractError(AssertionError):
    """A step breaks the contract; the message says which clause, with which step."""


def check_step(
    step: Step,
    task: Task,
    *,
    after: Sequence[Step] = (),
    identity: Step | None = None,
    promises: str | None = None,
) -> None:
    """Holds ``step``, taken after the recipe ``after``, to the contract; raises :class:`ContractError` where it fails.

    Clauses: it is a frozen dataclass of six fields at most and goes to JSON and back; input and task are untouched; the
    output keeps its shapes and dtypes, and no model comes out in train mode that did not go in so; it is repeatable; it
    is saved and loaded bit for bit; it exports and the artifact agrees with the model, and where it leaves many zeros
    and the sparse kernels are here, so does the artifact that runs on them; ``identity``, the setting that does
    nothing, reproduces the outputs; the footprint field that it ``promises`` falls.
    """
    _check_form(step)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = run(after, task.model, task)
    _check_untouched(step, before, task)
    recipe = (*after, step)
    first = run(recipe, task.model, task)
    _need(_equal(first, run(recipe, task.model, task)), step, "is not repeatable: two equal runs gave other values")
    _check_saved(first, recipe, task)
    sizes = _check_artifact(step, before, first, task, promises)
    if promises is not None:
        old, new = sizes
        _need(new < old, step, f"promises a smaller {promises}, and it went from {old:g} to {new:g}")
    if identity is not None:
        wanted, got = _outputs(before, task), _outputs(identity(before, task), task)
        error = max(
            (w - g).abs().max().item() / (w.abs().max().item() + 1e-12) for w, g in zip(wanted, got, strict=True)
        )
        _need(
            error <= IDENTITY_TOLERANCE,
            identity,
            f"is the identity setting, and outputs changed by {error:.2g} of their scale",
        )


def check_pair(first: Step, second: Step, task: Task) -> None:
    """Holds two steps to the contract in both orders: each after the other."""
    check_step(second, task, after=(first,))
    check_step(first, task, after=(second,))


def _check_form(step: Step) -> None:
    params = getattr(type(step), "__dataclass_params__", None)
    _need(params is not None and params.frozen, step, "is no frozen dataclass")
    _need(len(dataclasses.fields(step)) <= 6, step, "has more than six fields")  # type: ignore[arg-type]
    _need(from_json(to_json(step)) == step, step, "does not come back from JSON as it was")


def _check_untouched(step: Step, model: nn.Module, task: Task) -> None:
    taught = dataclasses.replace(task, teacher=task.teacher or model)
    for mode in (True, False):
        model.train(mode)
        key, whole, wanted = model_key(model), model_key(task.model), _outputs(model, task)
        result = step(model, taught)
        _need(model_key(task.model) == whole, step, "changed the task's model")
        _need(model_key(model) == key and model.training == mode, step, "changed its input model")
        _need(result is not model, step, "returned its input model")
        _need(result.training == mode or not result.training, step, f"left the model in train mode, input in {mode=}")
        got = _outputs(result, task)
        _need(
            [(t.shape, t.dtype) for t in got] == [(t.shape, t.dtype) for t in wanted],
            step,
            f"changed the outputs from {[tuple(t.shape) for t in wanted]} to {[tuple(t.shape) for t in got]}",
        )


def _check_saved(model: nn.Module, recipe: Sequence[Step], task: Task) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, recipe, task)
        try:
            loaded = from_pretrained(folder, task)
        except FlyweightError as error:
            raise ContractError(f"ContractError: {recipe[-1]!r} cannot be loaded: {error}") from error
    _need(_equal(model, loaded), recipe[-1], "loads other values than it saved")
    same = all(torch.equal(a, b) for a, b in zip(_outputs(model, task), _outputs(loaded, task), strict=True))
    _need(same, recipe[-1], "computes other outputs after loading")


def _check_artifact(
    step: Step, before: nn.Module, after: nn.Module, task: Task, promises: str | None
) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        new = export_onnx(after, task, Path(folder) / "after.onnx")
        check_parity(after, new, task)
        if available() and (zero_share(read_graph(new.path)) or 0.0) > _MANY:
            ours = export_onnx(after, task, Path(folder) / "kernels.onnx", kernels="all")
            check_parity(after, ours, task)
        if promises is None:
            return 0.0, 0.0
        old = export_onnx(before, task, Path(folder) / "before.onnx")
        seconds = 1.0 if promises.startswith("latency") else _BRIEFLY_S
        # Both in one call: their latencies are taken in turns.
        sheets = footprints([old.path, new.path], runtime=runtime_name("onnxruntime"), seconds=seconds)
        told = [getattr(sheet, promises) for sheet in sheets]
    _need(None not in told, step, f"promises a smaller {promises}, which could not be measured")
    return told[0], told[1]


def _outputs(model: nn.Module, task: Task) -> list[Tensor]:
    mode = model.training
    model.eval()
    with torch.no_grad():
        found = model(*task.example)
    model.train(mode)
    return [found] if isinstance(found, Tensor) else list(found)


def _equal(one: nn.Module, two: nn.Module) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _need(holds: Any, step: Step | Callable[..., Any], what: str) -> None:
    if not holds:
        raise ContractError(f"ContractError: {step!r} {what}.")
