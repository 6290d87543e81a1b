"""Folding batch-norm into the convolution or linear layer before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from flyweight.surgery.chain import attach, detach, foreign, links
from flyweight.surgery.integer import is_layer
from flyweight.surgery.overheard import overheard
from flyweight.surgery.rescale import Rescale
from flyweight.surgery.trace import trace
from flyweight.surgery.walk import replace_, shared


def fold_batchnorm_(
    model: nn.Module, example: tuple[Tensor, ...], exclude: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Folds each batch-norm that alone follows a layer into it, for good, and returns the names of the pairs.

    w′ = w·γ/√(σ²+ε),  b′ = (b − μ)·γ/√(σ²+ε) + β, by the running statistics: in evaluation the model computes what it
    did. The batch-norm's place is taken by an identity. Raises :class:`UnsupportedError` where the model cannot be
    traced. ``example`` is one batch of inputs; what lies inside a module that a glob of ``exclude`` matches stays as
    it is, and need not be traced.
    """
    pairs = foldable(trace(model, exclude), example)
    fold_pairs_(model, pairs)
    return pairs


def fold_pairs_(model: nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    """:func:`fold_batchnorm_` of those ``pairs`` that :func:`foldable` has found."""
    common = shared(model)
    for layer, norm in pairs:
        _fold_(model.get_submodule(layer), model.get_submodule(norm), common)
        replace_(model, norm, nn.Identity())


def foldable(graph: fx.GraphModule, example: tuple[Tensor, ...]) -> list[tuple[str, str]]:
    """The names of each layer and the batch-norm that alone reads its output, both called once."""
    modules = dict(graph.named_modules())
    calls: dict[str, int] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    found = []
    for node in graph.graph.nodes:
        before: Any = node.args[0] if node.args else None
        if (
            node.op == "call_module"
            and isinstance(before, fx.Node)
            and before.op == "call_module"
            and len(before.users) == 1
            and calls[str(node.target)] == calls[str(before.target)] == 1
            and _fit(modules[before.target], modules[node.target])
        ):
            found.append((str(before.target), str(node.target)))
    return _on_channels(graph, found, example)


def _fit(layer: nn.Module, norm: nn.Module) -> bool:
    wanted = nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d
    # A norm whose scale has a chain is of a class made for it; what it computes is the same.
    plain = isinstance(norm, wanted) and type(norm).forward is wanted.forward
    return is_layer(layer) and not foreign(layer) and plain and norm.running_mean is not None and not _learns(norm)


def _learns(norm: nn.Module) -> bool:
    """Whether links on its scale still learn what stays: folded, they would end unasked, at a draw of chance maybe."""
    if not parametrize.is_parametrized(norm, "weight"):
        return False
    scale: Tensor = norm.parametrizations.weight.original  # type: ignore[union-attr, assignment]
    return any(link.openness(scale.detach()) is not None for link in links(norm))


def _on_channels(
    graph: fx.GraphModule, pairs: list[tuple[str, str]], example: tuple[Tensor, ...]
) -> list[tuple[str, str]]:
    """Drops a linear layer of sequences, ``(N, L, C)``, for there BatchNorm1d normalises L."""
    dims: dict[str, int] = {}
    doubtful = [layer for layer, _ in pairs if isinstance(graph.get_submodule(layer), nn.Linear)]
    if not doubtful:
        return pairs

    def note(name: str) -> Any:
        return lambda module, inputs, output: dims.__setitem__(name, output.dim())

    hooks = [graph.get_submodule(name).register_forward_hook(note(name)) for name in doubtful]
    overheard(graph, example, hooks)
    return [(layer, norm) for layer, norm in pairs if dims.get(layer, 2) == 2]


def _fold_(layer: Any, norm: Any, common: set[int]) -> None:
    with torch.no_grad():
        sigma = (norm.running_var + norm.eps).sqrt()
        factor = sigma.reciprocal() if norm.weight is None else norm.weight / sigma
        bias = -norm.running_mean if layer.bias is None else layer.bias - norm.running_mean
        bias = bias * factor + (0 if norm.bias is None else norm.bias)
        if parametrize.is_parametrized(layer, "weight") or id(layer.weight) in common:
            attach(layer, Rescale(factor))
        else:
            layer.weight.mul_(factor.reshape(-1, *(1,) * (layer.weight.dim() - 1)))
        for link in links(layer, "bias"):
            detach(layer, link, "bias")
        if layer.bias is None or id(layer.bias) in common:
            layer.bias = nn.Parameter(bias.to(layer.weight.dtype))
        else:
            layer.bias.copy_(bias)
