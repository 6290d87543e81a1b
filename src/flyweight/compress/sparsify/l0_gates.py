"""L0 regularisation: gates that training closes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.compress.sparsify.gate import Gate, GateAlong
from flyweight.compress.sparsify.grouping import Grouping, inputs, outputs
from flyweight.compress.sparsify.targets import apart, branches, layers
from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.surgery.chain import attach, links
from flyweight.surgery.device import on_device
from flyweight.surgery.fold import foldable
from flyweight.surgery.trace import trace


@dataclass(frozen=True)
class L0Gates(Step):
    """Puts hard-concrete gates on the weights of linear and convolutional layers, for ``expected_l0`` to close.

    A gate z = clip(s·(ζ − γ) + γ, 0, 1), s = σ((log u − log(1 − u) + log α)/β), with β = 2/3, γ = −0.1, ζ = 1.1,
    multiplies each group of ``over``; u is drawn anew in each forward pass of training, and in evaluation s = σ(log α).

        L0Gates(), Train(epochs, loss=penalized(expected_l0(1e-3))), Settle(), Remove()

    ``inputs()``: one gate an input channel or neuron, as the paper's layers have; when it closes, nothing of the layer
    reads that unit, and ``Remove`` takes it where no other layer does. The first layer's are gates on the model's own
    inputs: exclude it to spare those. ``outputs()``: one gate an output, on weight and bias, or, where a batch-norm
    alone follows, on its scale and shift, for it would undo a gate on what it normalises; the last layer's are gates on
    the model's outputs: exclude it. What reads such an output reads it still, so ``Remove`` finds it by a
    ``Prune(ratio, score=gate_open(…), structure=channel())`` before ``Settle`` alone. ``elements()``: one gate a
    weight; ``tiles(R, C)``: one a block.

    ``droprate`` is 1 − σ(log α) at the start; up to 1/12 all gates are exactly 1 in evaluation, and outputs are what
    they were. Under Adam log α moves ``speed`` times as fast as other parameters: short trainings need 10 or more.
    ``exclude`` are globs of module names. Raises :class:`UnsupportedError` where there is no layer, or gates already.
    Source: Louizos, Welling and Kingma, 2018, arXiv:1712.01312.
    """

    over: Grouping = inputs()  # noqa: RUF009 (frozen)
    droprate: float = 0.05
    speed: float = 1.0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.droprate < 1:
            raise FlyweightError(
                f"FlyweightError: L0Gates got droprate={self.droprate!r}. Give a number from 0 to below 1; up to 0.08 "
                "all gates start open."
            )
        check_speed("L0Gates", self.speed)

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        """Returns ``model`` with gates."""
        found = layers(model, self.exclude, "L0Gates")
        apart(model, "L0Gates", found)
        norms = _norms(model, task) if isinstance(self.over, outputs) else {}
        for name, layer in found:
            check_bare("L0Gates", name, layer)
        for name, layer in found:
            owner = norms.get(name, layer)
            weight: Tensor = owner.weight  # type: ignore[assignment]
            gate = Gate(weight, self.over, branches(layer), self.droprate, self.speed)
            attach(owner, gate)
            if isinstance(self.over, outputs) and owner.bias is not None:
                attach(owner, GateAlong(gate), "bias")
            gate.train(model.training)
        return model

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        """The gates, all at their start."""
        return self.edit(model, task)


def check_speed(who: str, speed: float) -> None:
    """Raises :class:`FlyweightError` for a speed that is not above 0."""
    if not 0 < speed < float("inf"):
        raise FlyweightError(f"FlyweightError: {who} got speed={speed!r}. Give a number above 0; 1 to 100 are usual.")


def check_bare(who: str, name: str, layer: nn.Module) -> None:
    """Raises :class:`UnsupportedError` where ``layer``'s weight learns already which of its elements stay, or has a
    parametrization that is none of ours."""
    if parametrize.is_parametrized(layer, "weight") and len(links(layer)) < len(layer.parametrizations.weight):  # type: ignore[arg-type, union-attr]
        raise UnsupportedError(
            f"UnsupportedError: {who} can't act on {name!r}, whose weight has a parametrization of its own (weight or "
            "spectral norm?). Remove that by torch.nn.utils.parametrize.remove_parametrizations, or exclude the layer."
        )
    weight: Tensor = layer.weight.detach()  # type: ignore[operator]
    if any(link.openness(weight) is not None for link in links(layer)):
        raise UnsupportedError(
            f"UnsupportedError: {who} can't act on {name!r}, which has gates or noise already. Put Settle() between, "
            "or exclude the layer from one of them."
        )


def _norms(model: nn.Module, task: Task) -> dict[str, nn.Module]:
    """Of each layer that a batch-norm alone follows, that batch-norm, where it has a scale."""
    try:
        pairs = foldable(trace(model), on_device(task.example, model))
    except UnsupportedError as error:
        raise UnsupportedError(
            f"UnsupportedError: L0Gates(over=outputs()) has to see which batch-norm follows which layer, and can't. "
            f"Use over=inputs(), which need not. ({str(error).removeprefix('UnsupportedError: ')})"
        ) from error
    return {layer: norm for layer, name in pairs if (norm := model.get_submodule(name)).weight is not None}
