import copy

import pytest
import torch

from flyweight.compress.prune.cut import judged
from flyweight.compress.prune.damage import damage_of
from flyweight.compress.prune.distributions.sensitivity import sensitivity
from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.structures.element import element
from flyweight.core.errors import TrainingError
from nets import masks


def found(model, task):
    def evidence(pool):
        return {name: Evidence(name, getattr(module, parameter)) for module, parameter, name in pool.reads("weight")}

    return judged(element()(model, task, ()), magnitude(), evidence)


def loss(model, task):
    with torch.no_grad():
        return task.loss(model, task.data.calibrate.tensors).item()


def test_damage_is_the_rise_of_the_loss_and_leaves_no_trace(tiny_task):
    model = tiny_task.model.train()
    pools = found(model, tiny_task)
    before = copy.deepcopy(model.state_dict())
    damage = damage_of(model, tiny_task, pools)
    told = damage(pools.pools[1], 0.75)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    by_hand = copy.deepcopy(tiny_task.model).eval()
    weight = by_hand[9].parametrizations.weight.original
    with torch.no_grad():
        weight[weight.abs() < weight.abs().flatten().kthvalue(int(0.75 * weight.numel()) + 1).values] = 0
    assert int((by_hand[9].weight == 0).sum()) == 192
    assert told == pytest.approx(loss(by_hand, tiny_task) - loss(model.eval(), tiny_task), abs=1e-6)
    assert damage(pools.pools[1], 0.0) == 0.0


def test_a_loss_that_is_no_number_is_said(tiny_task):
    model = tiny_task.model
    pools = found(model, tiny_task)
    with torch.no_grad():
        model[9].bias.fill_(torch.nan)
    with pytest.raises(TrainingError, match="the loss on the calibration set is nan, so no layer's sensitivity can be"):
        damage_of(model, tiny_task, pools)


def test_by_sensitivity_the_layer_that_matters_less_loses_more(tiny_task):
    model = copy.deepcopy(tiny_task.model)
    with torch.no_grad():
        model[4].weight[8:] *= 1e-3  # half of its outputs say next to nothing, whatever they weigh
        model[5].weight[8:] *= 1e-3
    pruned = Prune(0.4, distribution=sensitivity())(model, tiny_task)
    first, second = (float((~mask.keep).float().mean()) for mask in masks(pruned))
    assert first > second
    assert sum(int((~mask.keep).sum()) for mask in masks(pruned)) == round(0.4 * 1408)
