import copy

import pytest
import torch
from torch import nn

from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.deploy.export.lower import Lowered, lower_
from flyweight.deploy.export.onnx import export_onnx
from flyweight.numerics.granularity import per_group
from flyweight.surgery.activation import Requantize
from flyweight.surgery.chain import attach
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.mask import Mask, mask_of
from flyweight.surgery.rescale import Rescale


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


class Recurrent(nn.Module):
    """Nearly all of its weights are where no integer kernel reads them."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(8, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lstm, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x):
        x = x.squeeze(1) + self.place
        x = self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.lstm(x)[0][:, -1])


def test_every_parameter_of_two_dimensions_counts_whatever_its_name(tiny_task, tmp_path):
    model = Quantize(activations=None)(Recurrent().eval(), tiny_task)
    artifact = export_onnx(model, tiny_task, tmp_path / "model.onnx")
    told = lower_(model)
    assert told.weights == {32: 8 * 8 + 3 * 8 * 8 + 4 * 16 * (8 + 16), 8: 8 * 8 + 4 * 16}
    assert told.floats == ["place", "attention", "lstm"]
    assert artifact.bits == 32
    assert "left in float: place, attention, lstm" in artifact.notes


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight


def test_a_weight_that_two_modules_share_counts_once():
    assert lower_(Tied()).weights == {32: 16}


def test_a_chain_that_ends_in_floats_counts_as_float():
    layer = nn.Linear(3, 4)
    attach(layer, Rescale(torch.ones(4)))
    told = lower_(nn.Sequential(layer))
    assert (told.weights, told.floats) == ({32: 12}, ["0"])


def test_another_library_s_parametrization_is_counted_and_left_alone():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)))
    told = lower_(model)
    assert (told.weights, told.floats) == ({32: 12}, ["0"])
    assert torch.isfinite(model(torch.ones(2, 3))).all()


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.norm(input=self.one(input=x)).mean((2, 3))


def test_layers_called_by_keyword_are_exported(tiny_task, tmp_path):
    for step in (Quantize(), Quantize(activations=None), Quantize(activations=None, aware=Aware())):
        export_onnx(step(Named().eval(), tiny_task), tiny_task, tmp_path / "model.onnx")


def test_what_a_mask_took_away_is_zero_and_does_not_count(tiny_task):
    model = tiny_task.model
    keep = torch.rand(model[4].weight.shape, generator=torch.Generator().manual_seed(0)) > 0.6
    attach(model[4], Mask(keep, (4, 1)))
    attach(model[9], Mask(torch.arange(4) > 1, (1, 1)), "bias")
    count = int(keep.sum())
    told = lower_(copy.deepcopy(model))
    assert told.weights == {32: 8 * 9 + count + 4 * 64}
    assert told.blocks == {(4, 1)}, "a bias is no weight"
    quantized = Quantize(exclude=("0", "9"))(model, tiny_task)
    told = lower_(quantized)
    assert told.weights == {8: count, 32: 8 * 9 + 4 * 64}
    codes = quantized.get_submodule("4").stored.codes8
    assert torch.equal(codes != 0, keep & (codes != 0))
    assert (codes != 0).sum() > 0.9 * count


def test_codes_that_a_mask_took_away_are_zero_whatever_the_link_stored():
    class Shifted(Rescale):
        def stored(self, weight):
            form = super().stored(weight)
            return type(form)(form.values + 1)

    layer = nn.Linear(6, 4)
    attach(layer, Shifted(torch.ones(4)))
    mask_of(layer).keep = torch.arange(24).reshape(4, 6) % 3 == 0
    model = nn.Sequential(layer)
    lower_(model)
    assert torch.equal(model[0].weight != 0, torch.arange(24).reshape(4, 6) % 3 == 0)
