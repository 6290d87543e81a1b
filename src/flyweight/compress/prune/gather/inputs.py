"""What layers are given: the norms of their inputs' columns and their products."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.prune.gather.columns import MATRICES, column_squares, columns
from flyweight.core.errors import TrainingError, UnsupportedError
from flyweight.core.task import Batch, Task
from flyweight.surgery.integer import IntegerLayer

_AT_ONCE = 2**24
"""How many numbers of an unfolded input are held at a time."""


class Seen:
    """What was seen of one layer's input X ``(samples, columns)``: Σ X_j² and, if asked for, XᵀX, of each group."""

    def __init__(self, layer: nn.Module, products: bool) -> None:
        self.layer, self.products = layer, products
        self.samples = 0
        self.squares: Tensor | None = None
        self.sums: Tensor | None = None

    @torch.no_grad()
    def see(self, x: Tensor) -> None:
        """Adds one input of the layer."""
        x = x.detach()
        x = x if x.dtype == torch.float64 else x.float()
        squares = column_squares(self.layer, x)
        self.squares = squares if self.squares is None else self.squares + squares
        if not self.products:
            return
        one = columns(self.layer, x[:1])
        step = max(1, _AT_ONCE // max(1, one.numel()))
        for part in torch.split(x, step) if x.dim() > 1 else (x,):
            rows = columns(self.layer, part).flatten(0, 1).transpose(0, 1)  # (groups, samples, columns)
            sums = rows.transpose(1, 2) @ rows
            self.sums = sums if self.sums is None else self.sums.add_(sums)
            self.samples += rows.shape[1]

    @property
    def norms(self) -> Tensor:
        """‖X_j‖₂, ``(columns,)``, or ``(groups, columns)`` of a grouped convolution."""
        assert self.squares is not None
        return _plain(self.squares.sqrt().float())

    @property
    def gram(self) -> Tensor:
        """XᵀX / samples, ``(columns, columns)``, or ``(groups, columns, columns)`` of a grouped convolution."""
        assert self.sums is not None
        return _plain(self.sums / self.samples)


def see_inputs(
    model: nn.Module,
    layers: Sequence[tuple[nn.Module, str, str]],
    task: Task,
    data: Iterable[Batch],
    products: bool,
) -> dict[str, Seen]:
    """What the layers ``(module, parameter, dotted name)`` are given when ``data`` passes through ``model``, by name.

    Raises :class:`UnsupportedError` for what is no convolution or linear layer and for a layer that is never called,
    :class:`TrainingError` where an input holds NaN or infinity.
    """
    for module, name, dotted in layers:
        if not isinstance(module, MATRICES) or name != "weight":
            raise UnsupportedError(
                f"UnsupportedError: {dotted!r}, of {type(module).__name__}, multiplies no matrix of inputs; weights of "
                f"{', '.join(kind.__name__ for kind in MATRICES)} do. Score it by magnitude() or taylor(), or exclude "
                "the layer."
            )
    seen = {dotted: Seen(module, products) for module, _, dotted in layers}
    with torch.no_grad(), heard_inputs(model, [(module, seen[dotted].see) for module, _, dotted in layers]):
        for batch in data:
            model(*task.inputs(batch))
    for dotted, one in seen.items():
        if one.squares is None:
            raise UnsupportedError(
                f"UnsupportedError: the layer of {dotted!r} was never called on the calibration set, so nothing is "
                "known of its inputs (its weight may be used by another module). Score by magnitude() or taylor(), or "
                "exclude the layer."
            )
        if not bool(torch.isfinite(one.squares).all()):
            raise TrainingError(
                f"TrainingError: the inputs of the layer of {dotted!r} hold NaN or infinity on the calibration set. "
                "Is the model trained, and are the inputs finite?"
            )
    return seen


@contextlib.contextmanager
def heard_inputs(model: nn.Module, hearers: Sequence[tuple[nn.Module, Callable[[Tensor], object]]]) -> Iterator[None]:
    """Calls each hearer with every input that its layer, or the integer layer around that, is given."""
    around = {module.layer: module for module in model.modules() if isinstance(module, IntegerLayer)}

    def hook(hearer: Callable[[Tensor], object]) -> Any:
        return lambda module, inputs, named: hearer(inputs[0] if inputs else named["input"])

    hooks = [
        around.get(layer, layer).register_forward_pre_hook(hook(hearer), with_kwargs=True) for layer, hearer in hearers
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _plain(x: Tensor) -> Tensor:
    return x[0] if x.shape[0] == 1 else x
