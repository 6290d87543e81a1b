"""Reading a weight, and the gradient that reaches it, at the place in its chain where a mask stands."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.chain import MASK, Link
from flyweight.surgery.modes import evaluated


class Tap:
    """While it is open, :attr:`tensors` holds the weight of each forward pass as it is behind the masks of its chain.

    That is before batch-norm is folded in and before rounding; of a parameter without a chain, itself. Gradients with
    respect to these tensors, summed, are the dense ones, those of masked elements too.
    Raises :class:`UnsupportedError` where ``module`` has no parameter ``name``.
    """

    def __init__(self, module: nn.Module, name: str, dotted: str) -> None:
        self.module, self.name, self.dotted = module, name, dotted
        self._passing: list[Tensor] = []
        self._hook: Any = None
        self._chained = parametrize.is_parametrized(module, name)
        if not self._chained and not isinstance(getattr(module, name, None), nn.Parameter):
            own = ", ".join(n for n, _ in module.named_parameters(recurse=False)) or "none"
            raise UnsupportedError(
                f"UnsupportedError: {dotted!r} is no parameter of {type(module).__name__} (it has: {own}). "
                "Exclude the layer; weight norm in torch's old form has to be removed first."
            )

    @property
    def links(self) -> list[nn.Module]:
        """All parametrizations of the weight, first to last."""
        return list(self._chain) if self._chained else []

    @property
    def behind(self) -> list[nn.Module]:
        """The parametrizations that change the weight after the masks."""
        chain = self.links
        late = [index for index, link in enumerate(chain) if isinstance(link, Link) and link.stage > MASK]
        return chain[late[0] :] if late else []

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer would train."""
        if not self._chained:
            return [getattr(self.module, self.name)]
        return [p for n, p in self._chain.named_parameters(recurse=False) if n.startswith("original")]

    @property
    def tensors(self) -> list[Tensor]:
        """What the loss may be differentiated by."""
        return list(self._passing) if self._chained else [getattr(self.module, self.name)]

    def clear(self) -> None:
        """Forgets the passes seen so far."""
        self._passing.clear()

    @torch.no_grad()
    def value(self) -> Tensor:
        """The weight at this place as evaluation has it, in its own dtype."""
        if not self._chained:
            weight: Tensor = getattr(self.module, self.name)
            return weight.detach().clone()
        chain, late = self.links, self.behind
        with evaluated(self._chain):
            weight = self._chain.original if late else getattr(self.module, self.name)
            for link in chain[: len(chain) - len(late)] if late else ():
                weight = link(weight)
        return weight.detach().clone()

    @torch.no_grad()
    def openness(self) -> Tensor | None:
        """How sure the gates and noise of the chain are to keep each element, in the weight's shape; None without."""
        sure: Tensor | None = None
        if not self._chained or not all(isinstance(link, Link) for link in self.links):
            return None
        with evaluated(self._chain):
            weight: Tensor = self._chain.original
            for link in self.links[: len(self.links) - len(self.behind)]:
                told = link.openness(weight)  # type: ignore[operator]
                if told is not None:
                    sure = told if sure is None else sure * told
                weight = link(weight)
        return sure

    @property
    def _chain(self) -> Any:
        chain: Any = self.module.parametrizations
        return chain[self.name]

    def __enter__(self) -> Self:
        if self._chained and self.behind:
            self._hook = self.behind[0].register_forward_pre_hook(lambda link, inputs: self._see(inputs[0]))
        elif self._chained:
            self._hook = self.links[-1].register_forward_hook(lambda link, inputs, output: self._see(output))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._hook is not None:
            self._hook.remove()
        self.clear()

    def _see(self, weight: Tensor) -> None:
        if weight.requires_grad:
            self._passing.append(weight)
