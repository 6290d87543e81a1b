import dataclasses

import pytest
import torch
from torch import nn

from flyweight.compress.prune.pools.prunable import prunable
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import UnknownNameError, UnsupportedError
from flyweight.surgery.mask import mask_of


def names(model, task, exclude=(), *, first=False, rows=False):
    return [weight.name for weight in prunable(model, task, exclude, first=first, rows=rows)]


def with_model(task, model, *example):
    return dataclasses.replace(task, model=model, example=example)


def test_the_layer_that_reads_the_input_is_spared_and_so_is_what_is_excluded(tiny_task, residual_task):
    assert names(tiny_task.model, tiny_task) == ["4", "9"]
    assert names(tiny_task.model, tiny_task, first=True) == ["0", "4", "9"]
    assert names(tiny_task.model, tiny_task, ("9",), first=True) == ["0", "4"]
    assert names(residual_task.model, residual_task) == ["one.0", "two.0", "head"]
    with pytest.raises(UnknownNameError, match="no module of Sequential matches 'nine'"):
        names(tiny_task.model, tiny_task, ("nine",))


def test_first_is_what_runs_first_and_not_what_is_written_first(tiny_task):
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.last(self.first(x))

    model = Backwards()
    task = with_model(tiny_task, model, torch.zeros(2, 4))
    assert names(model, task) == ["last"]
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_an_embedding_that_reads_the_input_is_first_and_never_pruned(tiny_task):
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2))
    task = with_model(tiny_task, model, torch.zeros(2, 3, dtype=torch.long))
    assert names(model, task) == ["2", "3"]


def test_layers_of_integers_and_masked_ones_are_known(tiny_task):
    model = Quantize(aware=Aware())(tiny_task.model, tiny_task)
    mask_of(model.get_submodule("4.layer"))
    assert names(model, tiny_task) == ["4.layer", "9.layer"]
    (second, _) = prunable(model, tiny_task, (), first=False, rows=False)
    assert [dotted for *_, dotted in second.places] == ["4.layer.weight"]
    assert names(model, tiny_task, ("9",)) == ["4.layer"]


def test_a_shared_weight_is_one_and_stays_where_one_of_its_layers_is_excluded(tiny_task):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[3].weight = model[1].weight
    task = with_model(tiny_task, model, torch.zeros(2, 4))
    for _ in range(2):
        found = prunable(model, task, (), first=False, rows=False)
        assert [[dotted for *_, dotted in weight.places] for weight in found] == [
            ["1.weight", "3.weight"],
            ["2.weight"],
        ]
        for weight in found:
            for module, name, _ in weight.places:
                mask_of(module, name)
    assert names(model, task, ("3",)) == ["2"]


def test_attention_and_transposed_convolutions(tiny_task):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.up = nn.Linear(4, 4), nn.ConvTranspose1d(3, 3, 2)
            self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            x = self.stem(x)
            return self.up(self.attend(x, x, x)[0])

    model = Net()
    task = with_model(tiny_task, model, torch.zeros(2, 3, 4))
    found = prunable(model, task, (), first=False, rows=False)
    assert [weight.places[0][2] for weight in found] == [
        "up.weight",
        "attend.in_proj_weight",
        "attend.out_proj.weight",
    ]
    assert "up" not in names(model, task, rows=True)


def test_nothing_to_prune_is_said(tiny_task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    task = with_model(tiny_task, model, torch.zeros(2, 4))
    with pytest.raises(
        UnsupportedError,
        match="Sequential has no weight to prune: no convolution or linear layer. The first layer is spared; first=T",
    ):
        names(model, task)
    with pytest.raises(UnsupportedError, match=r"no weight to prune outside exclude=\('1',\): no convolution"):
        names(model, task, ("1",), first=True)


def test_a_weight_that_another_parametrization_makes_is_named(tiny_task):
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    model = nn.Sequential(nn.Linear(4, 4), normed, nn.Linear(4, 2))
    task = with_model(tiny_task, model, torch.zeros(2, 4))
    with pytest.raises(UnsupportedError, match=r"'weight' of '1' has a parametrization of its own"):
        names(model, task)
    assert names(model, task, ("1",)) == ["2"]
