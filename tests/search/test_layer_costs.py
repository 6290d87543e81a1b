"""From pools to the sizes of their layers, and from their times to an allocation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from torch import nn

from flyweight.compress.prune.distributions.fixed import fixed
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.core.errors import UnsupportedError
from flyweight.core.task import Task
from flyweight.measure.geometry import Geometry
from flyweight.measure.layer_cost import CostTable
from flyweight.search.allocate import allocate
from flyweight.search.layer_costs import groups_of, layer_costs

HALF = Prune(0.5, structure=channel())


def weights(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("name", ["tiny_task", "residual_task"])
def test_the_sizes_are_those_of_the_model_with_the_units_removed(name: str, request: pytest.FixtureRequest) -> None:
    task: Task = request.getfixturevalue(name)
    masked = copy.deepcopy(task.model)
    pools = channel()(masked, task, ())
    groups = groups_of(masked, task, pools, (0.75,))
    for pool in pools:
        units = len(pool.kept)
        assert sorted(groups[pool.name]) == [units // 4, units]
        for count in (units // 4,):
            step = Prune(0.0001, structure=channel(), distribution=fixed(((pool.name, 1 - count / units),)))
            total = sum(float(p.parameters.sum()) for p in pools)
            share = float(pool.parameters.sum()) * (1 - count / units) / total
            small = Remove()(Prune(share, structure=channel(), distribution=step.distribution)(task.model, task), task)
            changed = [new for old, new in zip(weights(task.model), weights(small), strict=True) if old != new]
            assert sorted(layer.weight for layer in groups[pool.name][count]) == sorted(changed)


def test_elements_make_no_layer_faster(tiny_task: Task) -> None:
    with pytest.raises(UnsupportedError, match=r"units of '.*' do not leave the model.*channel\(\)"):
        layer_costs(tiny_task.model, tiny_task, Prune(0.5, structure=element()))


def test_a_table_spares_the_pricing_of_each_layer(tiny_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_weights(groups: Mapping[str, Mapping[int, Sequence[Geometry]]], **options: Any) -> CostTable:
        found = {
            name: {n: float(sum(g.macs for g in layers)) for n, layers in counts.items()}
            for name, counts in groups.items()
        }
        assert options["threads"] == 2
        return CostTable(ms=found, raw=found, runs=1, empty_call_ms=0.0, runtime="fake", threads=2)

    monkeypatch.setattr("flyweight.search.layer_costs.cost_table", by_weights)
    table = layer_costs(tiny_task.model, tiny_task, HALF, ratios=(0.25, 0.5, 0.75), threads=2)
    priced: list[int] = []

    def macs(models: Sequence[nn.Module]) -> list[float]:
        priced.append(len(models))
        shapes = [weights(model) for model in models]
        return [float(64 * a[0] * 9 + 16 * b[0] * b[1] * 9 + c[0] * c[1]) for a, b, c in shapes]

    (whole,) = macs([tiny_task.model])
    found = allocate(tiny_task.model, tiny_task, macs, 0.5 * whole, HALF, ratios=(0.25, 0.5, 0.75), table=table)
    assert found.price <= 0.5 * whole
    assert macs([Remove()(found.prune(tiny_task.model, tiny_task), tiny_task)]) == pytest.approx([found.price])
    assert max(priced) == 2, "no layer was priced by a model of its own"


@pytest.mark.slow
def test_milliseconds_of_a_real_runtime(tiny_task: Task) -> None:
    table = layer_costs(tiny_task.model, tiny_task, HALF, ratios=(0.5,))
    assert table.at("4", 8) <= table.at("4", 16)
