"""Penalties, gates and noise with pruning, removal, fine-tuning and quantization: models that come out smaller."""

import dataclasses

import pytest
import torch
from torch import nn

from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.scores.gate_open import gate_open
from flyweight.compress.prune.scores.norm_scale import norm_scale
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.sparsify.expected_l0 import expected_l0
from flyweight.compress.sparsify.gate import Gate
from flyweight.compress.sparsify.grouping import inputs, outputs
from flyweight.compress.sparsify.l0_gates import L0Gates
from flyweight.compress.sparsify.penalized import penalized
from flyweight.compress.sparsify.settle import Settle
from flyweight.compress.sparsify.slimming import slimming
from flyweight.compress.sparsify.variational_dropout import VariationalDropout
from flyweight.compress.sparsify.variational_kl import variational_kl
from flyweight.core.recipe import replay, run
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.train import Train
from flyweight.surgery.mask import Mask, mask_of
from flyweight.testing.check_step import check_step

FLOAT = Fit(precision="no")
SLIM = (
    Train(1, sgd(0.02), penalized(slimming(1e-2))),
    Prune(0.5, score=norm_scale(), structure=channel(), distribution=global_(of="units")),
)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def convolutions(model):
    return [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]


def test_network_slimming_makes_a_smaller_model_that_trains_and_quantizes(tiny_task):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    masked = run(SLIM, task.model, task)
    small = Remove()(masked, task)
    x = torch.randn(16, 1, 8, 8)
    torch.testing.assert_close(small(x), masked(x), rtol=1e-4, atol=1e-5)
    assert sum(convolutions(small)) == 12 and min(convolutions(small)) > 0  # half of 8 + 16
    assert parameters(small) < 0.6 * parameters(task.model)
    check_step(Quantize(), task, after=(*SLIM, Remove(), Train(1, adam(1e-3))), promises="size_bytes")


def test_the_channels_of_the_least_scale_go(tiny_task):
    with torch.no_grad():
        tiny_task.model[1].weight.copy_(torch.tensor([1, 0.01, 1, 0.02, 1, 0.03, 1, 0.04]))
        tiny_task.model[5].weight.fill_(0.5)
    cut = Prune(4 / 24, score=norm_scale(), structure=channel(), distribution=global_(of="units"))
    masked = run((cut,), tiny_task.model, tiny_task)
    assert mask_of(masked[1]).keep.tolist() == [True, False] * 4
    assert mask_of(masked[5]).keep.all()


def test_what_lost_nothing_is_loaded_under_aware_quantization_too(tiny_task):
    # The second batch-norm keeps all its channels, and goes into the integer layer, under a new name.
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    with torch.no_grad():
        task.model[1].weight.copy_(torch.tensor([1, 0.01, 1, 0.02, 1, 0.03, 1, 0.04]))
    cut = Prune(4 / 24, score=norm_scale(), structure=channel(), distribution=global_(of="units"))
    recipe = (cut, Remove(), Quantize(aware=Aware()), Train(1, adam(1e-3)))
    model = run(recipe, task.model, task)
    loaded = replay(recipe, task.model, task, model.state_dict())
    assert torch.equal(loaded(*task.example), model(*task.example))


def close(model, wanted):
    """Closes the gates at the places ``wanted`` of the second gated layer."""
    gate = [m for m in model.modules() if isinstance(m, Gate)][1]
    with torch.no_grad():
        gate.theta[wanted] = -4.0


def test_closed_input_gates_leave_by_settling_alone(tiny_task):
    gated = L0Gates(inputs(), exclude=("9",))(tiny_task.model, tiny_task)
    close(gated, [1, 4, 5])
    small = Remove()(Settle()(gated, tiny_task), tiny_task)
    x = torch.randn(16, 1, 8, 8)
    torch.testing.assert_close(small(x), gated(x), rtol=1e-4, atol=1e-5)
    assert convolutions(small) == [5, 16]


def test_closed_output_gates_leave_by_their_score(tiny_task):
    gated = L0Gates(outputs(), exclude=("9",))(tiny_task.model, tiny_task)
    close(gated, [0, 2, 3, 7])
    cut = Prune(4 / 24, score=gate_open("norm"), structure=channel(), distribution=global_(of="units"))
    masked = run((cut,), gated, tiny_task)
    small = Remove()(Settle()(masked, tiny_task), tiny_task)
    x = torch.randn(16, 1, 8, 8)
    torch.testing.assert_close(small(x), gated(x), rtol=1e-4, atol=1e-5)
    assert convolutions(small) == [8, 12]


def test_the_score_goes_with_a_schedule_in_training(tiny_task):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    recipe = (
        VariationalDropout(speed=20.0),
        Prune(0.5, score=gate_open(), schedule=cubic()),
        Train(2, adam(2e-3), penalized(variational_kl())),
        Settle(),
    )
    model = run(recipe, task.model, task)
    masks = [mask_of(model[i]).keep for i in (4, 9)]
    assert sum(int((~m).sum()) for m in masks) >= 0.5 * sum(m.numel() for m in masks) - 1


@pytest.mark.slow
@pytest.mark.parametrize("over", [inputs(), outputs()])
def test_the_whole_of_l0_in_one_recipe(tiny_task, over):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    gates = L0Gates(over, speed=50.0, exclude=("0",) if over == inputs() else ("9",))
    train = Train(20, adam(5e-3), penalized(expected_l0(2e-2)))
    cut = () if over == inputs() else (Prune(0.4, score=gate_open("norm"), structure=channel()),)
    before = (gates, train, *cut, Settle())
    assert any((~m.keep).any() for m in run(before, task.model, task).modules() if isinstance(m, Mask))
    check_step(Remove(), task, after=before)
    check_step(Quantize(), task, after=(*before, Remove(), Train(1, adam(1e-3))))


def test_gates_on_batch_norm_outlive_quantization_until_they_settle(tiny_task):
    gated = L0Gates(over=outputs(), exclude=("9",))(tiny_task.model, tiny_task)
    with torch.no_grad():
        for gate in (module for module in gated.modules() if isinstance(module, Gate)):
            gate.theta[::2] = -8
    for step in (Quantize(), Quantize(aware=Aware())):
        rounded = step(gated, tiny_task)
        assert sum(isinstance(module, Gate) for module in rounded.modules()) == 2
        settled = Settle()(rounded, tiny_task)
        x = torch.randn(8, 1, 8, 8)
        torch.testing.assert_close(settled(x), rounded(x))
    check_step(Quantize(), tiny_task, after=(L0Gates(over=outputs(), exclude=("9",)),))
