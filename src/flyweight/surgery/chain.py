"""A compressed weight: a chain of parametrizations on its module, whose last link says how the result is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.stored import Blocks, Dense, StoredForm

GATE, MASK, RESCALE, ROUND = 0, 1, 8, 9
"""Where a kind of link stands in its chain, whatever the order in which techniques came: noise and gates, masks,
then (between) other forms of the weight, then folded batch-norm, then the grid of integers."""


class Link(nn.Module, ABC):
    """One element of a chain: a differentiable map of a weight to another of its shape.

    ``stage`` orders the chain. A link behind a mask must map zero to zero.
    """

    stage: ClassVar[int]

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """The weight as training sees it after this link."""

    @abstractmethod
    def stored(self, weight: Tensor) -> StoredForm:
        """How ``forward(weight)`` is stored; ``weight`` is what the links before this one made."""

    def zeros(self) -> tuple[Tensor, tuple[int, int]] | None:
        """The elements that this link keeps, bool in the weight's shape, and the block (rows, columns) in which it
        takes them away; None where it takes none."""
        return None

    def narrow(self, kept: dict[int, Tensor]) -> None:
        """Follows the weight, of which along each dimension only the indices ``kept[dim]`` stay."""

    def openness(self, weight: Tensor) -> Tensor | None:
        """How sure each element of ``weight`` is to stay, 0 to 1 in its shape, where the link learns that; else None.

        ``weight`` is what the links before this one made."""
        return None

    def settled(self, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        """What a link that learns ends as: the weight's values for good, and which of them stay, bool; None for a link
        that lasts."""
        return None


def attach(module: nn.Module, link: Link, name: str = "weight") -> None:
    """Puts ``link`` into the chain on ``module``'s parameter ``name``, behind those of its stage and of earlier ones.

    Raises :class:`UnsupportedError` where ``module`` has no such parameter, or one with a parametrization that is none
    of ours.
    """
    if foreign(module, name):
        raise UnsupportedError(f"UnsupportedError: {type(module).__name__}'s {name!r} {FOREIGN}")
    if not isinstance(getattr(module, name, None), Tensor):
        own = ", ".join(n for n, _ in module.named_parameters(recurse=False)) or "none"
        raise UnsupportedError(
            f"UnsupportedError: {type(module).__name__} has no parameter {name!r} to compress (it has: {own}). "
            "Exclude the layer, or name another parameter."
        )
    _own_class(module)
    # unsafe: the check that a parametrization keeps shape and dtype would run a link whose owner is half built.
    behind = [other for other in links(module, name) if other.stage > link.stage]
    parametrize.register_parametrization(module, name, link, unsafe=True)
    if behind:
        chain: Any = module.parametrizations[name]  # type: ignore[index]
        order = [other for other in chain if other is not link]
        order.insert(order.index(behind[0]), link)
        for place, other in enumerate(order):
            chain[place] = other


def links(module: nn.Module, name: str = "weight") -> list[Link]:
    """The chain on ``module``'s parameter ``name``, first to last; empty where there is none."""
    if not parametrize.is_parametrized(module, name):
        return []
    return [link for link in module.parametrizations[name] if isinstance(link, Link)]  # type: ignore[index]


def learning(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Link]]:
    """The links of ``model`` that learn what stays: (module's name, module, parameter's name, link)."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for parameter in list(module.parametrizations):
                for link in links(module, parameter):
                    if link.openness(module.parametrizations[parameter].original.detach()) is not None:
                        yield name, module, parameter, link


FOREIGN = (
    "has a parametrization of its own (weight or spectral norm?), which no file could keep. Remove that by "
    "torch.nn.utils.parametrize.remove_parametrizations, or exclude the layer."
)
"""What is wrong with a parameter that :func:`foreign` tells of, and the way out."""


def foreign(module: nn.Module, name: str = "weight") -> bool:
    """Whether a parametrization that is no :class:`Link` makes ``module``'s parameter ``name``."""
    if not parametrize.is_parametrized(module, name):
        return False
    return not all(isinstance(link, Link) for link in module.parametrizations[name])  # type: ignore[index]


def detach(module: nn.Module, link: Link, name: str = "weight") -> None:
    """Takes ``link`` out of the chain on ``module``'s parameter ``name``; the parameter under the chain stays."""
    chain: Any = module.parametrizations[name]  # type: ignore[index]
    if len(chain) == 1:
        _own_class(module)
        parametrize.remove_parametrizations(module, name, leave_parametrized=False)
    else:
        del chain[list(chain).index(link)]


def _own_class(module: nn.Module) -> None:
    """Gives a parametrized ``module`` a class of its own.

    torch makes one class for it, with a property a parameter, and its copies share that class: a parameter added to or
    taken from one copy's properties would break all others.
    """
    if parametrize.is_parametrized(module):
        shared = type(module)
        own = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
        module.__class__ = type(shared.__name__, shared.__bases__, own)


def stored_form(module: nn.Module, name: str = "weight") -> StoredForm:
    """How ``module``'s parameter ``name`` is stored: what its chain's last link says, else ``Dense``.

    Where links of the chain take elements away, that form comes inside :class:`~flyweight.surgery.stored.Blocks`.
    """
    chain = links(module, name)
    if not chain:
        return Dense(getattr(module, name).detach())
    weight = module.parametrizations[name].original.detach()  # type: ignore[index, union-attr]
    for link in chain[:-1]:
        weight = link(weight).detach()
    form = chain[-1].stored(weight)
    told = [zeros for link in chain if (zeros := link.zeros()) is not None]
    if not told:
        return form
    keep = told[0][0]
    for other, _ in told[1:]:
        keep = keep & other
    blocks = {block for _, block in told}
    return Blocks(form, keep, blocks.pop() if len(blocks) == 1 else (1, 1))
