"""A compressed weight: a chain of parametrizations on its module, whose last link says how the result is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.stored import Dense, StoredForm


class Link(nn.Module, ABC):
    """One element of a chain: a differentiable map of a weight to another of its shape."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """The weight as training sees it after this link."""

    @abstractmethod
    def stored(self, weight: Tensor) -> StoredForm:
        """How ``forward(weight)`` is stored; ``weight`` is what the links before this one made."""


def append(module: nn.Module, link: Link, name: str = "weight") -> None:
    """Puts ``link`` at the end of the chain on ``module``'s parameter ``name``; the first link makes the chain.

    Raises :class:`UnsupportedError` where ``module`` has no such parameter.
    """
    if not isinstance(getattr(module, name, None), Tensor):
        own = ", ".join(n for n, _ in module.named_parameters(recurse=False)) or "none"
        raise UnsupportedError(
            f"UnsupportedError: {type(module).__name__} has no parameter {name!r} to compress (it has: {own}). "
            "Exclude the layer, or name another parameter."
        )
    # unsafe: the check that a parametrization keeps shape and dtype would run a link whose owner is half built.
    parametrize.register_parametrization(module, name, link, unsafe=True)


def links(module: nn.Module, name: str = "weight") -> list[Link]:
    """The chain on ``module``'s parameter ``name``, first to last; empty where there is none."""
    if not parametrize.is_parametrized(module, name):
        return []
    return [link for link in module.parametrizations[name] if isinstance(link, Link)]  # type: ignore[index]


def stored_form(module: nn.Module, name: str = "weight") -> StoredForm:
    """How ``module``'s parameter ``name`` is stored: what its chain's last link says, else ``Dense``."""
    chain = links(module, name)
    if not chain:
        return Dense(getattr(module, name).detach())
    weight = module.parametrizations[name].original.detach()  # type: ignore[index, union-attr]
    for link in chain[:-1]:
        weight = link(weight).detach()
    return chain[-1].stored(weight)
