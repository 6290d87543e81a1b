"""What penalties and gates act on: the layers of a model, and their weights as far as masks leave them."""

from __future__ import annotations

from collections.abc import Sequence

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
