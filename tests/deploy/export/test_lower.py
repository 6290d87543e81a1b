import copy

import pytest
import torch
from torch import nn

from flyweight.compress.quantize.quantize import Quantize
from flyweight.deploy.export.lower import Lowered, lower_
from flyweight.numerics.granularity import per_group
from flyweight.surgery.activation import Requantize
from flyweight.surgery.integer import IntegerLayer


@pytest.mark.parametrize(
    ("weights", "bits"),
    [({}, 32), ({8: 10}, 8), ({8: 90, 32: 10}, 8), ({8: 50, 32: 50}, 32), ({4: 40, 8: 35, 32: 25}, 4)],
)
def test_bits_are_those_of_at_least_half_or_of_the_most(weights, bits):
    assert Lowered(weights).bits == bits


def test_it_tells_what_it_stored_and_leaves_no_simulation(tiny_task):
    model = Quantize(bits=4, exclude=("0",))(tiny_task.model, tiny_task)
    told = lower_(copy.deepcopy(model))
    assert told.weights == {4: 16 * 8 * 9 + 4 * 64, 32: 8 * 9}
    assert told.floats == ["0"]
    assert told.activations
    assert not told.clipped
    assert not told.groups
    lowered = copy.deepcopy(model)
    lower_(lowered)
    assert not [m for m in lowered.modules() if isinstance(m, Requantize | IntegerLayer)]
    # Lowering a copy leaves the model whole, though parametrized copies share a class.
    assert model(tiny_task.example[0]).shape == (2, 4)


def test_groups_and_narrow_activations_are_told(tiny_task):
    grouped = Quantize(activations=None, granularity=per_group(3), exclude=("9",))(tiny_task.model, tiny_task)
    assert lower_(grouped).groups
    narrow = Quantize(activations=5)(tiny_task.model, tiny_task)
    assert lower_(narrow).clipped


def test_a_float_model_stays_as_it_is():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    told = lower_(model)
    assert told.weights == {32: 12}
    assert not told.activations
    assert torch.isfinite(model(torch.ones(2, 3))).all()
