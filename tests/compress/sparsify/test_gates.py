"""L0 gates: what they draw, what they price, and how they settle."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.gate_open import gate_open
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.sparsify.expected_l0 import expected_l0
from flyweight.compress.sparsify.gate import Gate
from flyweight.compress.sparsify.grouping import elements, inputs, outputs, tiles
from flyweight.compress.sparsify.l0_gates import L0Gates
from flyweight.compress.sparsify.l1 import l1
from flyweight.compress.sparsify.penalized import penalized
from flyweight.compress.sparsify.settle import Settle
from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.recipe import run
from flyweight.core.task import Splits, Task
from flyweight.learn.context import Context
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.numerics.hard_concrete import LIMIT, probability_open, settled_gate
from flyweight.surgery.chain import links
from flyweight.surgery.mask import Mask, mask_of
from flyweight.testing.check_step import check_step

FLOAT = Fit(precision="no")
ALL = [inputs(), outputs(), elements(), tiles(4, 3)]


def gates_of(model):
    return [m for m in model.modules() if isinstance(m, Gate)]


def draw_log_alpha(model, seed=0):
    """Spreads log α over closed, half open and open, of every layer some of each."""
    torch.manual_seed(seed)
    for gate in gates_of(model):
        with torch.no_grad():
            values = 4 * torch.randn_like(gate.theta)
            values[0] = 4.0
            gate.theta.copy_(values / gate.speed)


def mean_squares(forward, batch):
    return nn.functional.mse_loss(forward(batch[0]), batch[1])


def minus_error(forward, batches):
    with torch.no_grad():
        return -float(sum(nn.functional.mse_loss(forward(b[0]), b[1]) for b in batches))


def irrelevant_features(model):
    """A linear law of 4 of 12 features."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, 12, generator=generator)
    y = x[:, :4] @ torch.tensor([[1.0], [-2.0], [1.5], [0.8]]) + 0.1 * torch.randn(512, 1, generator=generator)
    data = TensorDataset(x, y)
    return Task(
        name="irrelevant", model=model, example=(x[:2],), loss=mean_squares, quality=minus_error, fit=FLOAT,
        data=Splits(train=data, calibrate=data, select=data, report=data),
    )  # fmt: skip


@pytest.mark.parametrize("over", ALL)
def test_open_gates_change_nothing_and_all_settle_open(tiny_task, over):
    wanted = tiny_task.model(*tiny_task.example)
    gated = L0Gates(over)(tiny_task.model, tiny_task)
    assert torch.equal(gated(*tiny_task.example), wanted)
    settled = Settle()(gated, tiny_task)
    assert torch.equal(settled(*tiny_task.example), wanted)
    assert not gates_of(settled) and all(m.keep.all() for m in settled.modules() if isinstance(m, Mask))


@pytest.mark.parametrize("over", ALL)
def test_settling_keeps_what_evaluation_computed(residual_task, over):
    gated = L0Gates(over, exclude=("stem.0",))(residual_task.model, residual_task)
    draw_log_alpha(gated)
    x = torch.randn(4, 1, 8, 8)
    settled = Settle()(gated, residual_task)
    torch.testing.assert_close(settled(x), gated(x), rtol=1e-5, atol=1e-5)
    closed = sum(int((~m.keep).sum()) for m in settled.modules() if isinstance(m, Mask))
    assert closed > 0 and not gates_of(settled)


def test_where_gates_stand(residual_task):
    rows = L0Gates(outputs())(residual_task.model, residual_task)
    # A batch-norm that alone follows carries the gate; the head has none, and carries its own, with its bias.
    assert [type(link).__name__ for link in links(rows.stem[1])] == ["Gate"]
    assert [type(link).__name__ for link in links(rows.stem[1], "bias")] == ["GateAlong"]
    assert not links(rows.stem[0]) and links(rows.head) and links(rows.head, "bias")
    columns = L0Gates(inputs())(residual_task.model, residual_task)
    assert [len(g.theta) for g in gates_of(columns)] == [1, 8, 8, 8]
    assert [g.theta.ndim for g in gates_of(columns)] == [1] * 4  # vectors, which optimizers do not decay


def test_noise_is_drawn_anew_in_training_and_shared_by_what_goes_along(residual_task):
    model = L0Gates(outputs(), droprate=0.5)(residual_task.model, residual_task)
    head, x = model.head, torch.randn(4, 8)
    model.eval()
    assert torch.equal(head(x), head(x))
    model.train()
    assert not torch.equal(head(x), head(x))
    gate = links(head)[0]
    gates = gate.gates()
    torch.testing.assert_close(head.parametrizations.bias.original * gates, head.bias)


def test_a_gate_multiplies_its_group(tiny_task):
    model = L0Gates(inputs())(tiny_task.model, tiny_task)
    draw_log_alpha(model)
    layer, gate = model[4], gates_of(model)[1]
    gates = settled_gate(gate.log_alpha)
    wanted = layer.parametrizations.weight.original * gates[None, :, None, None]
    torch.testing.assert_close(layer.weight, wanted)


def test_the_price_is_the_sum_of_probabilities(tiny_task):
    model = L0Gates(elements(), speed=5.0)(tiny_task.model, tiny_task)
    draw_log_alpha(model)
    context = Context(tiny_task, torch.arange(4), model=model)
    wanted = sum(float(probability_open(g.speed * t)) for g in gates_of(model) for t in g.theta.detach())
    assert expected_l0(0.5)(model, context).item() == pytest.approx(0.5 * wanted, rel=1e-4)
    expected_l0(0.5)(model, context).backward()
    assert all((g.theta.grad > 0).all() for g in gates_of(model))


def test_log_alpha_stays_within_its_bounds(tiny_task):
    model = L0Gates(speed=7.0)(tiny_task.model, tiny_task)
    for sign in (1, -1):
        for gate in gates_of(model):
            with torch.no_grad():
                gate.theta.fill_(sign * 100.0)
            gate.after_step(None)
            assert gate.log_alpha.tolist() == pytest.approx([sign * LIMIT] * len(gate.theta), rel=1e-5)


def test_training_closes_the_gates_of_irrelevant_features():
    torch.manual_seed(0)
    task = irrelevant_features(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1)))
    recipe = (
        Train(10, adam(1e-2)),
        L0Gates(inputs(), speed=20.0, exclude=("2",)),
        Train(40, adam(1e-2), penalized(expected_l0(0.2))),
        Settle(),
    )
    model = run(recipe, task.model, task)
    kept = mask_of(model[0]).keep.any(0)
    assert kept.tolist() == [True] * 4 + [False] * 8
    data = [task.data.report.tensors]
    assert minus_error(model, data) > -0.2  # of a variance of 9


SLOW = [pytest.param(over, marks=pytest.mark.slow) for over in ALL[2:]]


@pytest.mark.parametrize("over", [*ALL[:2], *SLOW])
def test_the_contract(tiny_task, over):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    gates = L0Gates(over, droprate=0.05, speed=30.0)
    check_step(gates, task, identity=gates)
    train = Train(1, adam(5e-3), penalized(expected_l0(1e-3)))
    check_step(Settle(), task, after=(gates, train))


def test_settled_gates_quantize(tiny_task):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    train = Train(1, adam(5e-3), penalized(expected_l0(1e-3)))
    check_step(Quantize(), task, after=(L0Gates(outputs(), speed=30.0), train, Settle()))


@pytest.mark.slow
def test_unsettled_gates_quantize(tiny_task):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    train = Train(1, adam(5e-3), penalized(expected_l0(1e-3)))
    check_step(Quantize(), task, after=(L0Gates(), train))


def test_a_mask_before_the_gates_stays(tiny_task):
    model = tiny_task.model
    mask_of(model[4]).keep[:, :3] = False
    gated = L0Gates(exclude=("0",))(model, tiny_task)
    assert [type(link).__name__ for link in links(gated[4])] == ["Gate", "Mask"]
    draw_log_alpha(gated)
    settled = Settle()(gated, tiny_task)
    assert not mask_of(settled[4]).keep[:, :3].any()
    # The model that came in is as it was, though torch shares a parametrized module's class with its copies.
    assert [type(link).__name__ for link in links(model[4])] == ["Mask"]
    model(*tiny_task.example)
    gated(*tiny_task.example)


def test_a_tile_is_told_to_the_mask(tiny_task):
    settled = Settle()(L0Gates(tiles(4, 1))(tiny_task.model, tiny_task), tiny_task)
    assert mask_of(settled[4]).block == (4, 1)


def test_the_score_is_the_probability(tiny_task):
    model = L0Gates(inputs())(tiny_task.model, tiny_task)
    draw_log_alpha(model)
    layer = model[4]
    openness = links(layer)[0].openness(layer.parametrizations.weight.original)
    assert openness.shape == layer.weight.shape
    torch.testing.assert_close(openness[3, :, 1, 2], probability_open(gates_of(model)[1].log_alpha).detach())
    assert torch.equal(gate_open()(Evidence("4.weight", layer.weight, openness=openness)), openness)
    with pytest.raises(UnsupportedError, match=r"gate_open finds no gates on '4.weight'. Put L0Gates"):
        gate_open()(Evidence("4.weight", layer.weight))
    with pytest.raises(FlyweightError, match=r"gate_open got reads='bias'"):
        gate_open("bias")


def test_what_it_refuses(tiny_task):
    with pytest.raises(FlyweightError, match=r"L0Gates got droprate=1. Give a number from 0 to below 1"):
        L0Gates(droprate=1)
    with pytest.raises(FlyweightError, match=r"L0Gates got speed=0. Give a number above 0"):
        L0Gates(speed=0)
    gated = L0Gates()(tiny_task.model, tiny_task)
    with pytest.raises(
        UnsupportedError, match=r"L0Gates can't act on '0', which has gates or noise already. Put Settle"
    ):
        L0Gates()(gated, tiny_task)
    with pytest.raises(UnsupportedError, match=r"Settle ends gates and noise, and Sequential has none"):
        Settle()(tiny_task.model, tiny_task)
    context = Context(tiny_task, torch.arange(4), model=tiny_task.model)
    with pytest.raises(UnsupportedError, match=r"expected_l0 prices gates, and Sequential has none. Put L0Gates\(\)"):
        expected_l0()(tiny_task.model, context)
    with torch.no_grad():
        gates_of(gated)[1].theta.fill_(-LIMIT)
    with pytest.raises(UnsupportedError, match=r"Settle would leave nothing of '4', all of whose gates closed"):
        Settle()(gated, tiny_task)
    with pytest.raises(
        UnsupportedError, match=r"gates are still learnt cannot lose units. Put Settle\(\) before Remove"
    ):
        gates_of(gated)[0].narrow({0: torch.arange(2)})


def test_tied_weights_and_foreign_parametrizations_are_refused(tiny_task):
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    with pytest.raises(UnsupportedError, match=r"L0Gates can't act on '0', whose weight is that of '1' too"):
        L0Gates()(tied, tiny_task)
    normed = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    with pytest.raises(UnsupportedError, match=r"'0', whose weight has a parametrization of its own"):
        L0Gates()(normed, tiny_task)
    assert float(l1(1.0)(normed, Context(tiny_task, torch.arange(4), model=normed))) > 0


def test_outputs_need_a_model_that_can_be_traced(tiny_task):
    class Winding(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 4)

        def forward(self, x):
            return self.layer(x.flatten(1)) if x.sum() > 0 else self.layer(x.flatten(1)) * 2

    model = Winding().eval()
    with pytest.raises(UnsupportedError, match=r"L0Gates\(over=outputs\(\)\) has to see which batch-norm follows"):
        L0Gates(outputs())(model, tiny_task)
    L0Gates(inputs())(model, tiny_task)
