"""Ratios for each layer: the budget kept, the damage least, and the step that does it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from flyweight.compress.prune.distributions.fixed import fixed
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.core.errors import BudgetError, FlyweightError, UnknownNameError
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.search.allocate import allocate
from flyweight.search.priced import priced
from flyweight.tasks.cross_entropy import cross_entropy
from flyweight.testing.check_step import check_step

QUARTERS = (0.25, 0.5, 0.75)
HALF = Prune(0.5, structure=channel())


def parameters(models: Sequence[nn.Module]) -> list[float]:
    return [float(sum(p.numel() for p in model.parameters())) for model in models]


def loss(model: nn.Module, task: Task) -> float:
    with torch.no_grad():
        return float(cross_entropy(model, task.data.calibrate.tensors))


def test_the_model_keeps_the_limit_and_is_better_than_all_alike(tiny_task: Task) -> None:
    prune = Prune(0.5, structure=channel())
    before = {k: v.clone() for k, v in tiny_task.model.state_dict().items()}
    found = allocate(tiny_task.model, tiny_task, parameters, 800, prune, ratios=(0.25, 0.75))
    assert all(torch.equal(v, before[k]) for k, v in tiny_task.model.state_dict().items())
    assert [layer.name for layer in found.layers] == ["0", "4"]
    assert isinstance(found.prune.distribution, fixed)
    small = Remove()(found.prune(tiny_task.model, tiny_task), tiny_task)
    assert parameters([small])[0] == pytest.approx(found.price)
    assert found.price <= 800
    # Brute force: every pair of ratios, each model in earnest, by the damages that add up.
    shares = [0.0, 0.25, 0.75]
    hurts = [dict(zip((0.0, *layer.lost), (0.0, *layer.hurts), strict=True)) for layer in found.layers]
    best = []
    for pair in itertools.product(shares, repeat=2):
        said = tuple((name, share) for name, share in zip(("0", "4"), pair, strict=True) if share)
        ratio = 0.999 * max(pair) if said else 0.0
        step = Prune(ratio, structure=channel(), distribution=fixed(said)) if said else Prune(0.0, structure=channel())
        try:
            model = Remove()(step(tiny_task.model, tiny_task), tiny_task)
        except FlyweightError:  # the ratio of all parameters is not known here: less than the largest of the pair
            model = None
        if model is not None and parameters([model])[0] <= 800:
            best.append(hurts[0][pair[0]] + hurts[1][pair[1]])
    chosen = dict(found.prune.distribution.ratios)
    mine = sum(h[chosen.get(name, 0.0)] for name, h in zip(("0", "4"), hurts, strict=True))
    assert mine <= min(best) + 1e-9


def test_layers_that_do_not_matter_go_first(tiny_task: Task) -> None:
    """The second convolution's channels are made useless: all that is needed is taken from it."""
    with torch.no_grad():
        tiny_task.model[4].weight[4:] = 1e-6 * tiny_task.model[4].weight[4:]
        tiny_task.model[5].bias[4:] = 0
        tiny_task.model[9].weight.view(4, 16, 4)[:, 4:] *= 1e-6
    whole = parameters([tiny_task.model])[0]
    found = allocate(
        tiny_task.model, tiny_task, parameters, 0.6 * whole, Prune(0.5, structure=channel()), ratios=QUARTERS
    )
    assert [name for name, _ in found.prune.distribution.ratios] == ["4"]
    small = Remove()(found.prune(tiny_task.model, tiny_task), tiny_task)
    assert loss(small, tiny_task) == pytest.approx(loss(tiny_task.model, tiny_task), abs=0.05)
    alike = Remove()(Prune(0.4, structure=channel(), distribution=uniform())(tiny_task.model, tiny_task), tiny_task)
    assert loss(small, tiny_task) < loss(alike, tiny_task)


def test_files_are_priced(tiny_task: Task, tmp_path: Path) -> None:
    size = export_onnx(tiny_task.model, tiny_task, tmp_path / "whole.onnx").path.stat().st_size
    assert priced(tiny_task, "size_bytes")([tiny_task.model]) == [size]


def test_the_pace_of_the_machine_is_taken_out(tiny_task: Task) -> None:
    """Every third time that prices are asked the machine is five times as slow; what is found is the same."""
    asked: list[int] = []

    def drifting(models: Sequence[nn.Module]) -> list[float]:
        asked.append(len(models))
        pace = 5.0 if len(asked) % 3 == 2 else 1.0
        return [pace * p for p in parameters(models)]

    found = [
        allocate(tiny_task.model, tiny_task, price, 800, HALF, ratios=(0.25, 0.75)) for price in (parameters, drifting)
    ]
    assert asked[:3] == [1, 3, 3], "the whole model, then each pool's variants beside it"
    assert found[1].prune == found[0].prune
    assert found[1].price == pytest.approx(found[0].price)


def test_where_nothing_is_needed_nothing_goes(tiny_task: Task) -> None:
    found = allocate(tiny_task.model, tiny_task, parameters, 1e6, Prune(0.5, structure=channel()), ratios=(0.5,))
    assert found.prune == Prune(0.0, structure=channel())


def test_a_limit_that_cannot_be_kept(tiny_task: Task) -> None:
    said = r"no allocation costs 10 or less; with 0\.75 of every layer's units gone it costs \d+"
    with pytest.raises(BudgetError, match=said):
        allocate(tiny_task.model, tiny_task, parameters, 10, Prune(0.5, structure=channel()), ratios=QUARTERS)


@pytest.mark.parametrize("ratios", [(), (0.5, 0.25), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_wrong_ratios_are_told(tiny_task: Task, ratios: tuple[float, ...]) -> None:
    with pytest.raises(FlyweightError, match=r"allocate got ratios=.*that rise"):
        allocate(tiny_task.model, tiny_task, parameters, 10, Prune(0.5, structure=channel()), ratios=ratios)


def test_what_is_no_price_and_no_step_is_told(tiny_task: Task) -> None:
    with pytest.raises(FlyweightError, match=r"allocate got price='macs'. Give a function .* priced\(task, "):
        allocate(tiny_task.model, tiny_task, "macs", 10, Prune(0.5))  # type: ignore[arg-type]
    with pytest.raises(FlyweightError, match=r"allocate got prune=channel.*Give a Prune\(0.5, score, structure\)"):
        allocate(tiny_task.model, tiny_task, parameters, 10, channel())  # type: ignore[arg-type]


def test_prices_that_are_none(tiny_task: Task) -> None:
    with pytest.raises(FlyweightError, match=r"told the prices .*A price is above 0"):
        allocate(tiny_task.model, tiny_task, lambda models: [float("nan")] * len(models), 1, Prune(0.5), ratios=(0.5,))
    with pytest.raises(UnknownNameError, match="Did you mean 'size_bytes'"):
        priced(tiny_task, "size_byte")


def test_elements_can_be_allocated_too(tiny_task: Task) -> None:
    def nonzero(models: Sequence[nn.Module]) -> list[float]:
        return [float(sum(int((m.weight != 0).sum()) for m in model if hasattr(m, "weight"))) for model in models]

    prune = Prune(0.5, structure=element())
    whole = nonzero([tiny_task.model])[0]
    found = allocate(tiny_task.model, tiny_task, nonzero, 0.5 * whole, prune, then=(), ratios=QUARTERS)
    masked = found.prune(tiny_task.model, tiny_task)
    assert nonzero([masked])[0] == pytest.approx(found.price, abs=2)
    check_step(found.prune, tiny_task)


@pytest.mark.parametrize(("limit", "least"), [(1215, 1000.0), (481, 1.0), (481, 1000.0)])
def test_savings_that_are_less_than_was_said_are_made_up_for(tiny_task: Task, limit: int, least: float) -> None:
    """A choice that falls short although it suffices by the table is not the last word, nor is one of equal savings."""

    class Boasting:
        def at(self, name: str, count: float) -> float:
            units = {"0": 8, "4": 16}[name]
            return 2000.0 if count == units else 1000.0 if least == 1000.0 else 10.0 * count

    found = allocate(tiny_task.model, tiny_task, parameters, limit, HALF, ratios=(0.125, 0.5, 0.75), table=Boasting())
    assert found.price <= limit
