"""The diagonal of the Gauss-Newton matrix of a task's loss."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.prune.columns import MATRICES, columns
from flyweight.compress.prune.factor import factor
from flyweight.compress.prune.tap import Tap
from flyweight.core.task import Batch, Task

_AT_ONCE = 2**24
"""How many numbers of examples' gradients are held at a time."""
_SAME = 1e-3
"""By how much, of the largest, an example's gradient may differ between the two ways of finding it."""


def gauss_newton(model: nn.Module, taps: Sequence[Tap], task: Task, data: Iterable[Batch]) -> dict[str, Tensor]:
    """diag(G), G = (1/N) Σ_n J_nᵀ·H_n·J_n, of the weight of each tap, by dotted name; the taps have to be open.

    J_n = ∂z_n/∂w, and H_n = ∂²ℓ_n/∂z_n² as :func:`~flyweight.compress.prune.factor.factor` takes it apart into
    directions s, so that G_kk = (1/N) Σ_n Σ_s (∂(s·z_n)/∂w_k)²: each example's gradient is squared by itself. Where a
    network is piecewise linear and each weight is used once, this is the diagonal of the Hessian too.
    Gradients of convolutions and linear layers are made from their inputs and the gradients of their outputs, of all
    examples at once; where these prove not to be the gradient (a weight that is shared or rounded, examples that do not
    lie along dimension 0), and for all other parameters, examples pass one by one.
    """
    sums = {tap.dotted: torch.zeros_like(tap.value(), dtype=torch.float32) for tap in taps}
    quick = [tap for tap in taps if not tap.behind and tap.name == "weight" and isinstance(tap.module, MATRICES)]
    proven = False
    examples = 0
    for batch in data:
        count = len(batch[0])
        examples += count
        if quick:
            _clear(taps)
            with _watched(quick) as calls:
                passed = factor(model, task, batch)
            if not proven:
                quick, proven = _prove(quick, calls, passed.outputs), True
            for direction in range(passed.factor[0].shape[1]):
                _add(quick, calls, passed.outputs, [part[:, direction] for part in passed.factor], sums)
        for index in range(count) if len(quick) < len(taps) else ():
            _clear(taps)
            passed = factor(model, task, tuple(t[index : index + 1] for t in batch))
            for direction in range(passed.factor[0].shape[1]):
                towards = [part[:, direction] for part in passed.factor]
                for tap, gradient in _plain([t for t in taps if t not in quick], passed.outputs, towards):
                    sums[tap.dotted] += gradient.square()
    _clear(taps)
    return {name: total / max(1, examples) for name, total in sums.items()}


Call = tuple[Tensor, Tensor]
"""A layer's input and its output."""


@contextlib.contextmanager
def _watched(taps: Sequence[Tap]) -> Iterator[dict[Tap, list[Call]]]:
    calls: dict[Tap, list[Call]] = {tap: [] for tap in taps}

    def hook(seen: list[Call]) -> Any:
        def see(module: nn.Module, inputs: Any, named: Any, output: Tensor) -> None:
            seen.append(((inputs[0] if inputs else named["input"]).detach(), output))

        return see

    hooks = [tap.module.register_forward_hook(hook(seen), with_kwargs=True) for tap, seen in calls.items()]
    try:
        yield calls
    finally:
        for one in hooks:
            one.remove()


def _prove(taps: Sequence[Tap], calls: dict[Tap, list[Call]], outputs: tuple[Tensor, ...]) -> list[Tap]:
    """Those of ``taps`` of which the first example's gradient comes out right from inputs and outputs."""
    count = len(outputs[0])
    able = [
        tap
        for tap in taps
        if calls[tap] and all(len(x) == len(y) == count and x.dim() > 1 and y.requires_grad for x, y in calls[tap])
    ]
    towards = [torch.randn_like(z) for z in outputs]
    alone = [t * (torch.arange(count, device=t.device) == 0).reshape(-1, *(1,) * (t.dim() - 1)) for t in towards]
    wanted = dict(_plain(able, outputs, alone))
    slopes = _slopes(able, calls, outputs, towards)
    found = []
    for tap in able:
        one = sum(_each(tap.module, x[:1], slope[:1]) for (x, _), slope in zip(calls[tap], slopes[tap], strict=True))
        right = wanted[tap].flatten(1)
        if float((torch.as_tensor(one)[0] - right).abs().max()) <= _SAME * float(right.abs().max()):
            found.append(tap)
    return found


def _add(
    taps: Sequence[Tap],
    calls: dict[Tap, list[Call]],
    outputs: tuple[Tensor, ...],
    towards: Sequence[Tensor],
    sums: dict[str, Tensor],
) -> None:
    """Adds each example's squared gradient of ``towards``·z to ``sums``."""
    slopes = _slopes(taps, calls, outputs, towards)
    for tap in taps:
        total = sums[tap.dotted]
        step = max(1, _AT_ONCE // max(1, total.numel()))
        pairs = [(x, slope) for (x, _), slope in zip(calls[tap], slopes[tap], strict=True)]
        if len(pairs) == 1 and pairs[0][0].dim() == 2 and isinstance(tap.module, nn.Linear):
            total += (pairs[0][1].square().mT @ pairs[0][0].square()).reshape(total.shape)
            continue
        for start in range(0, len(pairs[0][0]), step):
            part = slice(start, start + step)
            gradients = _each(tap.module, pairs[0][0][part], pairs[0][1][part])
            for x, slope in pairs[1:]:
                gradients = gradients + _each(tap.module, x[part], slope[part])
            total += gradients.square().sum(0).reshape(total.shape)


def _slopes(
    taps: Sequence[Tap], calls: dict[Tap, list[Call]], outputs: tuple[Tensor, ...], towards: Sequence[Tensor]
) -> dict[Tap, list[Tensor]]:
    """The gradient of ``towards``·z in the output of every call."""
    places = [y for tap in taps for _, y in calls[tap]]
    if not places:
        return {}
    found = iter(torch.autograd.grad(outputs, places, list(towards), retain_graph=True, allow_unused=True))
    told: dict[Tap, list[Tensor]] = {}
    for tap in taps:
        told[tap] = []
        for _, y in calls[tap]:
            slope = next(found)
            told[tap].append(torch.zeros_like(y) if slope is None else slope)
    return told


def _each(layer: nn.Module, x: Tensor, slope: Tensor) -> Tensor:
    """Each example's gradient of the weight as a matrix, ``(examples, outputs, columns)``."""
    matrix = columns(layer, x)  # (n, places, groups, columns)
    n, places, groups, width = matrix.shape
    rows = slope.movedim(1, -1) if not isinstance(layer, nn.Linear) else slope
    rows = rows.reshape(n, places, groups, -1)
    return torch.einsum("npgo,npgc->ngoc", rows, matrix).reshape(n, -1, width)


def _plain(taps: Sequence[Tap], outputs: tuple[Tensor, ...], towards: Sequence[Tensor]) -> list[tuple[Tap, Tensor]]:
    """The gradient of ``towards``·z, summed over examples, in each tap's weight."""
    places = [t for tap in taps for t in tap.tensors]
    if not places:
        return []
    found = iter(torch.autograd.grad(outputs, places, list(towards), retain_graph=True, allow_unused=True))
    told = []
    for tap in taps:
        gradients = [g for _ in tap.tensors if (g := next(found)) is not None]
        if gradients:
            told.append((tap, torch.stack(gradients).sum(0).float()))
        else:
            told.append((tap, torch.zeros_like(tap.value(), dtype=torch.float32)))
    return told


def _clear(taps: Sequence[Tap]) -> None:
    for tap in taps:
        tap.clear()
