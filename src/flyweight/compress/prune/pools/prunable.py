"""Which weights of a model can lose elements, and where else the same parameter stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.core.task import Task
from flyweight.surgery.chain import FOREIGN, foreign
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.overheard import overheard
from flyweight.surgery.walk import matching, walk, within

ROWS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose weight is a matrix (outputs, inputs · kernel)."""

WEIGHTS: tuple[type[nn.Module], ...] = (
    *ROWS,
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    nn.MultiheadAttention,
)
"""All layers whose weights can lose elements."""

_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""What torch's attention keeps beside its linear layer."""


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter that can lose elements: ``name`` of its layer, and its ``places``, (module, parameter's name, dotted
    name); more than one where layers share it."""

    name: str
    places: tuple[tuple[nn.Module, str, str], ...]


def prunable(model: nn.Module, task: Task, exclude: Sequence[str], *, first: bool, rows: bool) -> list[Weight]:
    """The weights of the layers of ``model``, in its order: no biases, no batch-norm, no embeddings.

    ``first`` says that of the layer that reads the model's input too; ``rows`` leaves out transposed convolutions,
    whose weights are no rows of outputs. A weight that also stands in a module of ``exclude`` is left alone. Raises
    :class:`UnsupportedError` where nothing is left, and :class:`UnknownNameError` for a glob that matches nothing.
    """
    kinds = (*ROWS, nn.MultiheadAttention) if rows else WEIGHTS
    places, left_alone = _places(model), matching(model, exclude)
    spared = None if first else _first(model, task)
    found: list[Weight] = []
    taken: set[int] = set()
    for name, module in walk(model, kinds, exclude):
        if module is spared:
            continue
        wanted = _PROJECTIONS if isinstance(module, nn.MultiheadAttention) else ("weight",)
        for parameter in wanted:
            if foreign(module, parameter):
                raise UnsupportedError(f"UnsupportedError: {parameter!r} of {name!r} {FOREIGN}")
            original = _original(module, parameter)
            if original is None or id(original) in taken:
                continue
            taken.add(id(original))
            if not any(within(place, left_alone) for _, _, place in places[id(original)]):
                found.append(Weight(name, tuple(places[id(original)])))
    if not found:
        left = f" outside exclude={tuple(exclude)!r}" if exclude else ""
        hint = "" if first or spared is None else " The first layer is spared; first=True in the structure includes it."
        raise UnsupportedError(
            f"UnsupportedError: {type(model).__name__} has no weight to prune{left}: no convolution or linear "
            f"layer.{hint}"
        )
    return found


def _places(model: nn.Module) -> dict[int, list[tuple[nn.Module, str, str]]]:
    """Where each parameter stands, by its identity."""
    found: dict[int, list[tuple[nn.Module, str, str]]] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, parametrize.ParametrizationList):
            continue
        for name, parameter in _own(module):
            found.setdefault(id(parameter), []).append((module, name, f"{prefix}.{name}" if prefix else name))
    return found


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter
    if parametrize.is_parametrized(module):
        for name, chain in module.parametrizations.items():  # type: ignore[operator, union-attr]
            for original, parameter in chain.named_parameters(recurse=False):
                if original.startswith("original"):  # weight norm has two
                    yield name, parameter


def _original(module: Any, name: str) -> Tensor | None:
    if parametrize.is_parametrized(module, name):
        original: Tensor = module.parametrizations[name].original
        return original
    parameter: Tensor | None = module._parameters.get(name)
    return parameter


def _first(model: nn.Module, task: Task) -> nn.Module | None:
    """The layer with a weight that one forward pass calls first."""
    called: list[nn.Module] = []

    def note(module: nn.Module, *_: Any) -> None:
        called.append(module.layer if isinstance(module, IntegerLayer) else module)

    def weighty(module: nn.Module) -> bool:
        owner = module.layer if isinstance(module, IntegerLayer) else module
        return any(p.dim() > 1 for _, p in _own(owner)) and not isinstance(owner, parametrize.ParametrizationList)

    hooks = [m.register_forward_pre_hook(note) for m in model.modules() if weighty(m)]
    overheard(model, task.example, hooks)
    return called[0] if called else None
