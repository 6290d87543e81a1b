"""Whole layers: residual blocks, encoder layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.pools.layers import Layers
from flyweight.compress.prune.pools.prunable import WEIGHTS, prunable
from flyweight.core.errors import UnsupportedError
from flyweight.core.task import Task
from flyweight.surgery.device import device_of
from flyweight.surgery.overheard import overheard
from flyweight.surgery.skip import Skip
from flyweight.surgery.walk import matching, replace_, within


@dataclass(frozen=True)
class layer:
    """Each whole layer that its input can pass by is a unit; all of them compete.

    Those are the modules of a ``ModuleList`` or ``Sequential`` that are made of others, are called once, with a tensor
    first, and give one of its shape: residual blocks, encoder layers. Where such a module holds others of the kind,
    those inside count. ``blocks`` names them instead, by globs, as in ``("encoder.layer.*",)``. Saliency is the sum of
    that of all weights. A gate, :class:`~flyweight.surgery.skip.Skip`, stands around each, so names change from ``x``
    to ``x.inner`` until ``Remove()`` takes the gates out. Raises :class:`UnsupportedError` where fewer than two are
    found, or a named one can't be passed by.
    """

    blocks: tuple[str, ...] = ()

    units: ClassVar[str] = "layers"

    def __post_init__(self) -> None:
        if isinstance(self.blocks, list):
            object.__setattr__(self, "blocks", tuple(self.blocks))

    def __call__(self, model: nn.Module, task: Task, exclude: Sequence[str]) -> list[Pool]:
        gated = {name: module for name, module in model.named_modules() if isinstance(module, Skip)}
        named = matching(model, self.blocks)
        named = {name for name in named if not within(name.rpartition(".")[0], named)}  # a glob's * goes into parts too
        left_alone = matching(model, exclude)
        wanted = named if self.blocks else _candidates(model)
        passable = _passable(model, task, {name for name in wanted if name not in gated})
        refused = sorted(name for name in wanted if name not in passable and name not in gated)
        if self.blocks and refused:
            raise UnsupportedError(
                f"UnsupportedError: layer(blocks={self.blocks!r}) can't pass {refused[0]!r} by: it isn't "
                "called exactly once with a tensor first, giving one of that shape. Name blocks of equal input and "
                "output shape."
            )
        names = {name for name in passable | set(gated) if not within(name, left_alone)}
        if not self.blocks:
            names = {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
        order = [name for name, _ in model.named_modules() if name in names]
        if len(order) < 2 and isinstance(model, fx.GraphModule):
            raise UnsupportedError(
                "UnsupportedError: layers can't be passed by in a traced graph, which holds the operations of all "
                "layers in one row. Take Prune(structure=layer()) before Quantize."
            )
        if len(order) < 2:
            raise UnsupportedError(
                f"UnsupportedError: {type(model).__name__} has {len(order)} layers that their input can pass by, and "
                "one always stays. They are modules in a ModuleList or Sequential, made of others, that give a tensor "
                "of their input's shape. Name them by layer(blocks=…), or use structure=channel()."
            )
        for name in order:
            if name not in gated:
                skip = Skip(model.get_submodule(name)).to(device_of(model))
                skip.training = skip.inner.training
                replace_(model, name, skip)
        return [_pool(model, task, order)]

    def replayed(self, pools: Sequence[Pool], state: Mapping[str, Tensor]) -> None:
        """Sets the gates as the finished ``state`` tells, for steps that follow trace the layers that are kept.

        A layer that has nothing there was taken out; where none of them has, ``state`` says nothing of layers.
        """
        for pool in pools:
            if isinstance(pool, Layers):
                told = [any(key.startswith(f"{name}.") for key in state) for name in pool.names]
                for name, skip, there in zip(pool.names, pool.skips, told, strict=True):
                    skip.set(bool(state.get(f"{name}.keep", there or not any(told))))


def _candidates(model: nn.Module) -> set[str]:
    """Names of the modules in containers that are made of others, with weights among them."""
    found = set()
    for prefix, container in model.named_modules():
        if isinstance(container, parametrize.ParametrizationList) or not isinstance(
            container, nn.ModuleList | nn.Sequential
        ):
            continue
        for name, child in container.named_children():
            whole = child.inner if isinstance(child, Skip) else child
            made = any(isinstance(part, WEIGHTS) for part in whole.modules() if part is not whole)
            if made and not isinstance(whole, nn.ModuleList | nn.Sequential | nn.ModuleDict):
                found.add(f"{prefix}.{name}" if prefix else name)
    return found


def _passable(model: nn.Module, task: Task, names: set[str]) -> set[str]:
    """Those that one forward pass calls once, with a tensor first, and that give one of its shape."""
    calls: dict[str, list[bool]] = {name: [] for name in names}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            first = inputs[0] if inputs else None
            tensors = isinstance(first, Tensor) and isinstance(output, Tensor)
            calls[name].append(tensors and (first.shape, first.dtype) == (output.shape, output.dtype))  # type: ignore[union-attr]

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(note(name)) for name in names]
    overheard(model, task.example, hooks)
    return {name for name, seen in calls.items() if seen == [True]}


def _pool(model: nn.Module, task: Task, names: list[str]) -> Layers:
    weights = [place for weight in prunable(model, task, (), first=True, rows=False) for place in weight.places[:1]]
    skips = [model.get_submodule(name) for name in names]
    inside = [tuple(w for w in weights if w[2].startswith(f"{name}.")) for name in names]
    return Layers(tuple(names), tuple(skip for skip in skips if isinstance(skip, Skip)), tuple(inside))
