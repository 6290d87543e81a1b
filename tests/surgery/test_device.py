"""Where a model lies, and taking tensors there."""

import torch
from torch import nn

from flyweight.surgery.device import device_of, on_device


def test_a_model_says_where_it_lies_and_one_without_parameters_lies_on_the_cpu():
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == torch.device("cpu")


def test_tensors_go_where_the_model_is():
    moved = on_device([torch.zeros(2), torch.zeros(3)], nn.Linear(2, 2, device="meta"))
    assert [(t.device.type, len(t)) for t in moved] == [("meta", 2), ("meta", 3)]
