"""Collecting what scores ask for, by passing the calibration set through the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.data import Subset, TensorDataset

from flyweight.compress.prune.evidence import NEEDS, Evidence
from flyweight.compress.prune.gather.curvature import gauss_newton
from flyweight.compress.prune.gather.inputs import see_inputs
from flyweight.compress.prune.gather.tap import Tap
from flyweight.compress.prune.gather.untouched import untouched
from flyweight.core.crew import crew
from flyweight.core.errors import FlyweightError, TrainingError, UnsupportedError, unknown_name
from flyweight.core.task import Batch, Task, batches

_BATCH = 64


def gather(
    model: nn.Module,
    parameters: Sequence[tuple[nn.Module, str, str]],
    needs: Sequence[str],
    task: Task,
    samples: int = 512,
) -> dict[str, Evidence]:
    """The evidence on ``parameters``, each ``(module, parameter's name, dotted name)``, by dotted name.

    ``samples`` examples of ``task.data.calibrate``, spread over it evenly, pass through ``model`` in evaluation mode;
    modes, buffers, gradients and generators are afterwards what they were. Movement and momentum, which only training
    can tell, stay None here, and openness where there are no gates.

    Weights and gradients are those behind the masks of a chain and before folded batch-norm and rounding; gradients
    are dense, those of masked elements too. ``curvature`` is as
    :func:`~flyweight.compress.prune.gather.curvature.gauss_newton` says: exact up to 64 outputs an example, beyond
    that by drawn labels or the empirical Fisher. ``inputs`` and ``gram`` are there for convolutions (columns: inputs
    of a group × kernel) and linear layers, those inside an :class:`~flyweight.surgery.integer.IntegerLayer` too.
    ``gram`` takes columns² numbers a layer: for wide layers, ask layer by layer.

    Raises :class:`UnknownNameError` for a need that there is not, :class:`UnsupportedError` for a parameter that
    cannot be known about, :class:`TrainingError` where loss or inputs are not finite.
    """
    for need in needs:
        if need not in NEEDS:
            raise unknown_name("need of a score", need, NEEDS)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise FlyweightError(f"FlyweightError: gather got samples={samples!r}. Give 1 or more, as in samples=512.")
    taps = [Tap(module, name, dotted) for module, name, dotted in parameters]
    told: dict[str, dict[str, Tensor]] = {tap.dotted: {"weight": tap.value()} for tap in taps}
    for tap in taps if "openness" in needs else ():
        if (sure := tap.openness()) is not None:
            told[tap.dotted]["openness"] = sure
    if taps and not {"gradient", "curvature", "inputs", "gram"}.isdisjoint(needs):
        device = taps[0].value().device
        data = _Moved(batches(_spread(task.data.calibrate, samples), _BATCH), device)
        with untouched(model, [p for tap in taps for p in tap.parameters]):
            if "inputs" in needs or "gram" in needs:
                for name, seen in see_inputs(model, parameters, task, data, "gram" in needs).items():
                    told[name]["inputs"] = seen.norms
                    if "gram" in needs:
                        told[name]["gram"] = seen.gram
            others = _others(model, taps) if "gradient" in needs else {}
            with contextlib.ExitStack() as open_, torch.enable_grad():
                for tap in (*taps, *(other for found in others.values() for other in found)):
                    open_.enter_context(tap)
                found: dict[str, dict[str, Tensor]] = {}
                if "gradient" in needs:
                    found["gradient"] = _gradients(model, taps, others, task, data)
                if "curvature" in needs:
                    found["curvature"] = gauss_newton(model, taps, task, data)
                for field, of in found.items():
                    for name, value in of.items():
                        told[name][field] = value
    _agree(told)
    return {name: Evidence(name=name, **fields) for name, fields in told.items()}


class _Moved:
    """Batches on the model's device."""

    def __init__(self, data: Iterable[Batch], device: torch.device) -> None:
        self.data, self.device = data, device

    def __iter__(self) -> Any:
        for batch in self.data:
            yield tuple(t.to(self.device) for t in batch)


def _spread(dataset: Any, samples: int) -> Any:
    """``samples`` items of ``dataset`` at even distances, for it may be sorted by class."""
    size = len(dataset)
    if size <= samples:
        return dataset
    chosen = [index * size // samples for index in range(samples)]
    if isinstance(dataset, TensorDataset):
        return TensorDataset(*(t[chosen] for t in dataset.tensors))
    return Subset(dataset, chosen)


def _others(model: nn.Module, taps: Sequence[Tap]) -> dict[Tap, list[Tap]]:
    """Where else a chain stands on the parameter of a tap's: each place has a share of its gradient."""
    places: dict[int, list[tuple[nn.Module, str, str]]] = {}
    for prefix, module in model.named_modules():
        for name, chain in module.parametrizations.items() if parametrize.is_parametrized(module) else ():
            if isinstance(weight := getattr(chain, "original", None), nn.Parameter):
                places.setdefault(id(weight), []).append((module, name, f"{prefix}.{name}"))
    return {
        tap: [Tap(*place) for place in places.get(id(tap.parameters[0]), []) if place[:2] != (tap.module, tap.name)]
        for tap in taps
    }


def _gradients(
    model: nn.Module, taps: Sequence[Tap], others: Mapping[Tap, Sequence[Tap]], task: Task, data: Iterable[Batch]
) -> dict[str, Tensor]:
    """The mean over examples of ∂L/∂ŵ; zero where the loss does not depend on the parameter."""
    sums: dict[str, Tensor] = {tap.dotted: torch.zeros_like(tap.value(), dtype=torch.float32) for tap in taps}
    examples = 0
    everywhere = [(tap.dotted, place) for tap in taps for place in (tap, *others[tap])]
    for batch in data:
        for _, place in everywhere:
            place.clear()
        loss = task.loss(model, batch)
        if not loss.requires_grad:
            raise UnsupportedError(
                "UnsupportedError: the task's loss carries no gradient to the model. It has to call forward(*inputs) "
                "and return a tensor made of the result; or score by magnitude()."
            )
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"TrainingError: the loss is {float(loss.detach())} on the calibration set, so no gradient can be "
                "read. Is the model trained, and are the inputs finite?"
            )
        tensors = [(name, tensor) for name, place in everywhere for tensor in place.tensors]
        found = torch.autograd.grad(loss, [t for _, t in tensors], allow_unused=True) if tensors else ()
        for (name, _), gradient in zip(tensors, found, strict=True):
            if gradient is not None:
                sums[name] += gradient.float() * len(batch[0])
        examples += len(batch[0])
    for _, place in everywhere:
        place.clear()
    return {name: total / max(1, examples) for name, total in sums.items()}


def _agree(told: dict[str, dict[str, Tensor]]) -> None:
    """Gives every process the first one's evidence: the last digits may differ, and with them what goes."""
    if crew()[1] > 1 and torch.distributed.is_available() and torch.distributed.is_initialized():
        for fields in told.values():
            for value in fields.values():
                told_first = value.contiguous()
                torch.distributed.broadcast(told_first, 0)
                value.copy_(told_first)
