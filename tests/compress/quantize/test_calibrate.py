import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from flyweight.compress.quantize.calibrate import calibrate_
from flyweight.compress.quantize.ranges.kl import kl
from flyweight.compress.quantize.ranges.minmax import minmax
from flyweight.compress.quantize.ranges.percentile import percentile
from flyweight.core.errors import UnsupportedError
from flyweight.surgery.activation import Requantize


def task_of(task, x):
    data = dataclasses.replace(task.data, calibrate=TensorDataset(x, torch.zeros(len(x))))
    return dataclasses.replace(task, data=data, example=(x[:2],))


def test_ranges_are_those_of_float_tensors_over_the_whole_set(tiny_task):
    x = torch.randn(600, 5)
    layer = nn.Linear(5, 4)
    model = nn.Sequential(Requantize(), layer, Requantize(), nn.Dropout(0.5)).train()
    calibrate_(model, task_of(tiny_task, x), minmax())
    assert model[0].low == x.min()
    assert model[0].high == x.max()
    assert model[2].low == pytest.approx(layer(x).min().item())
    assert all(m.training for m in model.modules())
    assert model[0].rounds


@pytest.mark.parametrize("rule", [percentile(99.0), kl()])
def test_rules_that_ask_for_a_histogram_get_one(tiny_task, rule):
    x = torch.cat([torch.rand(199_999, 1), torch.full((1, 1), 50.0)])
    model = nn.Sequential(Requantize(), nn.Identity())
    calibrate_(model, task_of(tiny_task, x), rule)
    assert model[0].high < 49


def test_a_model_that_yields_nan_is_refused(tiny_task):
    x = torch.full((4, 3), float("nan"))
    with pytest.raises(
        UnsupportedError, match=r"0 saw values from .*Is the model trained, and are the inputs finite\?"
    ):
        calibrate_(nn.Sequential(Requantize()), task_of(tiny_task, x), minmax())
