"""The model that coupling is traced on: float, in evaluation, with plain parameters of the same names."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.surgery.activation import Requantize
from flyweight.surgery.chain import Link, detach, links
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.walk import replace_


def float_twin(model: nn.Module) -> nn.Module:
    """A copy of ``model`` without chains and rounding, whose parameters have the names that they have in ``model``.

    Parameters that ``model`` shares are shared. A parametrization that is no :class:`Link` stays.
    """
    twin = copy.deepcopy(model).eval()
    for module in list(twin.modules()):
        for name in chained(module):
            for link in links(module, name):
                detach(module, link, name)
    for name, module in list(twin.named_modules()):
        if isinstance(module, IntegerLayer):
            replace_(twin, name, _FloatLayer(module))
        elif isinstance(module, Requantize):
            replace_(twin, name, _Passing())
    return twin.eval()


def chained(module: nn.Module) -> list[str]:
    """The names of ``module``'s parameters that have a chain of links."""
    if not parametrize.is_parametrized(module):
        return []
    chains: Any = module.parametrizations
    return [name for name, chain in chains.items() if all(isinstance(link, Link) for link in chain)]


class _FloatLayer(nn.Module):
    """An :class:`IntegerLayer` as the layer and the batch-norm that it stands for."""

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.layer, self.norm = layer.layer, layer.norm

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as IntegerLayer's)
        output: Tensor = self.layer(input)
        return output if self.norm is None else self.norm(output)


class _Passing(nn.Module):
    def forward(self, x: Tensor, again: bool = False) -> Tensor:
        return x
