"""The end of gates and noise: what is closed goes, what is open stays, for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.sparsify.gate import Gate
from flyweight.compress.sparsify.noise import hush
from flyweight.compress.sparsify.targets import original
from flyweight.core.errors import UnsupportedError
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.surgery.chain import Link, detach, learning
from flyweight.surgery.mask import mask_of


@dataclass(frozen=True)
class Settle(Step):
    """Turns what :class:`L0Gates` and :class:`VariationalDropout` learnt into masks and plain weights.

    A gate that is 0 in evaluation becomes zeros of a mask, any other is multiplied into the weights; of noise, weights
    of log α above the cut are masked. Evaluation computes what it did, but for what the noise's cut takes. Gates,
    noise and their parameters are gone afterwards; masks last through further training, and ``Remove`` takes the units
    of which nothing is read. Raises :class:`UnsupportedError` where there is nothing to settle, or where a layer would
    come out empty.
    """

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        """Returns ``model`` without gates."""
        found = list(learning(model))
        if not found:
            raise UnsupportedError(
                f"UnsupportedError: Settle ends gates and noise, and {type(model).__name__} has none. Put L0Gates() or "
                "VariationalDropout(), and a training, before it."
            )
        ends = []
        for name, module, parameter, link in found:
            values, keep = _settled(link, original(module, parameter))
            if parameter == "weight" and not bool(keep.any()):
                raise UnsupportedError(
                    f"UnsupportedError: Settle would leave nothing of {name!r}, all of whose {_what(link)}. Train with "
                    "a lower strength or for a shorter time, or exclude the layer."
                )
            ends.append((values, keep))
        for (_, module, parameter, link), (values, keep) in zip(found, ends, strict=True):
            mask = self._plain(module, parameter, link)
            mask.keep &= keep
            with torch.no_grad():
                original(module, parameter).copy_(values)
        return model

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        """The masks, all open."""
        for _, module, parameter, link in list(learning(model)):
            self._plain(module, parameter, link)
        return model

    def _plain(self, module: nn.Module, parameter: str, link: Link) -> Any:
        """Takes ``link`` away, and gives the mask that stands for it."""
        tile = link.grouping.tile if isinstance(link, Gate) else (1, 1)
        detach(module, link, parameter)
        hush(module)
        return mask_of(module, parameter, tile)


def _settled(link: Link, weight: Tensor) -> tuple[Tensor, Tensor]:
    end = link.settled(weight)
    assert end is not None
    return end


def _what(link: Link) -> str:
    return "weights are noise" if not isinstance(link, Gate) else "gates closed"
