"""What penalties and gates act on: the layers of a model, and their weights as far as masks leave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.chain import MASK, RESCALE, Link
from flyweight.surgery.walk import walk

LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def layers(model: nn.Module, exclude: Sequence[str], who: str) -> list[tuple[str, nn.Module]]:
    """The linear and convolutional layers of ``model`` outside ``exclude``, the first one too, each with its name.

    Raises :class:`UnsupportedError`, in the name of ``who``, where there is none, and :class:`UnknownNameError` for a
    glob that matches nothing.
    """
    found = list(walk(model, LAYERS, exclude))
    if not found:
        left = f" outside exclude={tuple(exclude)!r}" if exclude else ""
        raise UnsupportedError(
            f"UnsupportedError: {who} has nothing to act on in {type(model).__name__}{left}: it has no linear and no "
            "convolutional layer there. Leave it out of the recipe, or exclude less."
        )
    return found


def apart(model: nn.Module, who: str, found: Sequence[tuple[str, nn.Module]]) -> None:
    """Raises :class:`UnsupportedError`, in the name of ``who``, where a weight of ``found`` is another module's too."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=True):
        if not isinstance(module, parametrize.ParametrizationList):
            for parameter in _originals(module):
                owners.setdefault(id(parameter), []).append(name)
    for name, layer in found:
        others = [other for other in owners[id(original(layer))] if other != name]
        if others:
            raise UnsupportedError(
                f"UnsupportedError: {who} can't act on {name!r}, whose weight is that of {others[0]!r} too: what one "
                f"of them loses the other would lose unasked. Give exclude=({name!r}, {others[0]!r})."
            )


def original(module: nn.Module, name: str = "weight") -> Tensor:
    """The parameter ``name`` of ``module``, under its chain where it has one."""
    if parametrize.is_parametrized(module, name):
        chain = module.parametrizations[name]  # type: ignore[index]
        return chain.original  # type: ignore[no-any-return, union-attr]
    return getattr(module, name)  # type: ignore[no-any-return]


def _originals(module: nn.Module) -> list[Tensor]:
    holders: list[Any] = [module]
    if parametrize.is_parametrized(module):
        holders += module.parametrizations.children()  # type: ignore[union-attr]
    return [p for holder in holders for p in holder._parameters.values() if p is not None]


def effective(module: nn.Module, name: str = "weight") -> Tensor:
    """``module``'s parameter behind its masks, in front of folded batch-norm and rounding, without gates' noise."""
    if not parametrize.is_parametrized(module, name):
        return getattr(module, name)  # type: ignore[no-any-return]
    chain: list[nn.Module] = list(module.parametrizations[name])  # type: ignore[index]
    if not all(isinstance(link, Link) for link in chain):
        return getattr(module, name)  # type: ignore[no-any-return]
    weight: Tensor = module.parametrizations[name].original  # type: ignore[index, union-attr]
    for link in chain:
        if MASK <= link.stage < RESCALE:  # type: ignore[operator]
            weight = link(weight)
    return weight


def branches(module: nn.Module) -> int:
    """The groups of a convolution, 1 for a linear layer."""
    count: int = getattr(module, "groups", 1)
    return count
