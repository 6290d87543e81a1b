"""The diagonal of the Gauss-Newton matrix of a task's loss."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.prune.gather.columns import MATRICES, columns
from flyweight.compress.prune.gather.factor import factor
from flyweight.compress.prune.gather.tap import Tap
from flyweight.core.task import Batch, Task

_AT_ONCE = 2**24
"""How many numbers of examples' gradients are held at a time."""
_SAME = 2e-2
"""By how much, of the largest, a gradient may differ between the two ways of finding it: TF32 takes some of it."""


def gauss_newton(model: nn.Module, taps: Sequence[Tap], task: Task, data: Iterable[Batch]) -> dict[str, Tensor]:
    """diag(G), G = (1/N) Σ_n J_nᵀ·H_n·J_n, of the weight of each tap, by dotted name; the taps have to be open.

    J_n = ∂z_n/∂w, and H_n = ∂²ℓ_n/∂z_n² as :func:`~flyweight.compress.prune.gather.factor.factor` takes it apart into
    directions s, so that G_kk = (1/N) Σ_n Σ_s (∂(s·z_n)/∂w_k)²: each example's gradient is squared by itself. Where a
    network is piecewise linear and each weight is used once, this is the diagonal of the Hessian too.
    Gradients of convolutions and linear layers are made from their inputs and the gradients of their outputs, of all
    examples at once; where these prove not to be the gradient (a weight that is shared or rounded, examples that do not
    lie along dimension 0), and for all other parameters, examples pass one by one.
    """
    sums = {tap.dotted: torch.zeros_like(tap.value(), dtype=torch.float32) for tap in taps}
    able = [tap for tap in taps if not tap.behind and tap.name == "weight" and isinstance(tap.module, MATRICES)]
    examples = 0
    for batch in data:
        count = len(batch[0])
        examples += count
        quick: list[Tap] = []
        if able:
            _clear(taps)
            with _watched(able) as calls:
                passed = factor(model, task, batch)
            quick = _proven(able, calls, passed.outputs)
            for direction in range(passed.factor[0].shape[1]):
                _add(quick, calls, passed.outputs, [part[:, direction] for part in passed.factor], sums)
        slow = [tap for tap in taps if tap not in quick]
        for index in range(count) if slow else ():
            _clear(taps)
            passed = factor(model, task, tuple(t[index : index + 1] for t in batch))
            for direction in range(passed.factor[0].shape[1]):
                towards = [part[:, direction] for part in passed.factor]
                for tap, gradient in _plain(slow, passed.outputs, towards):
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


def _proven(taps: Sequence[Tap], calls: dict[Tap, list[Call]], outputs: tuple[Tensor, ...]) -> list[Tap]:
    """Those of ``taps`` of which each example's gradient comes out right from inputs and outputs.

    With chance directions v_n and weights r_n, Σ_n r_n·(∂(v_n·z_n)/∂w) has to be ∂(Σ_n r_n·v_n·z_n)/∂w, which an
    example that passes for another would spoil, and so would a use of the weight that was not seen.
    """
    count = len(outputs[0])
    fit = [
        tap
        for tap in taps
        if calls[tap] and all(len(x) == len(y) == count and x.dim() > 1 and y.requires_grad for x, y in calls[tap])
    ]
    weights = torch.randn(count, device=outputs[0].device)
    towards = [torch.randn_like(z) for z in outputs]
    weighted = [t * weights.to(t.dtype).reshape(-1, *(1,) * (t.dim() - 1)) for t in towards]
    wanted = dict(_plain(fit, outputs, weighted))
    slopes = _slopes(fit, calls, outputs, towards)
    found = []
    for tap in fit:
        right = wanted[tap].flatten(1)
        got = torch.zeros_like(right)
        for part in _parts(count, right.numel()):
            got += torch.einsum("n,noc->oc", weights[part], _gradients(tap, calls[tap], slopes[tap], part).float())
        if float((got - right).abs().max()) <= _SAME * float(right.abs().max()):
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
        (x, _), slope = calls[tap][0], slopes[tap][0]
        if len(calls[tap]) == 1 and x.dim() == 2 and isinstance(tap.module, nn.Linear):
            total += slope.square().mT @ x.square()  # one place: the square of a product
            continue
        for part in _parts(len(x), total.numel()):
            total += _gradients(tap, calls[tap], slopes[tap], part).square().sum(0).reshape(total.shape)


def _parts(count: int, size: int) -> list[slice]:
    """Examples, so many at a time that their gradients of ``size`` numbers fit."""
    step = max(1, _AT_ONCE // max(1, size))
    return [slice(start, start + step) for start in range(0, count, step)]


def _gradients(tap: Tap, calls: list[Call], slopes: list[Tensor], part: slice) -> Tensor:
    """Each example's gradient of the weight as a matrix, over all calls, ``(examples, outputs, columns)``."""
    first, *others = (_each(tap.module, x[part], slope[part]) for (x, _), slope in zip(calls, slopes, strict=True))
    return torch.stack([first, *others]).sum(0) if others else first


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
    """That of one call."""
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
