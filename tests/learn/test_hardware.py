"""Choices of device, precision and memory layout."""

import pytest
import torch
from torch import nn

from flyweight.core.errors import FlyweightError
from flyweight.learn import hardware
from flyweight.learn.hardware import accelerator, chosen_device, chosen_precision, lay_out, wants_channels_last

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
IMAGE = (torch.zeros(1, 3, 8, 8),)
convolution, perceptron = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Linear(4, 4))


def test_the_device_that_is_not_there_is_said():
    assert chosen_device("cpu") == CPU
    if not torch.cuda.is_available():
        with pytest.raises(FlyweightError, match=r"Fit\(device='cuda:3'\) finds .* here.*Use device='auto'"):
            chosen_device("cuda:3")


def test_auto_is_the_cpu_where_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert chosen_device("auto") == CPU


@pytest.mark.parametrize(
    ("fast", "model", "expected"), [(True, convolution, "bf16"), (True, perceptron, "no"), (False, convolution, "no")]
)
def test_auto_precision_on_a_cpu(monkeypatch, fast, model, expected):
    monkeypatch.setattr(hardware, "_cpu_has_bf16", lambda: fast)
    assert chosen_precision("auto", CPU, model) == expected
    assert chosen_precision("bf16", CPU, model) == "bf16"


def test_fp16_needs_cuda():
    assert chosen_precision("fp16", CUDA, convolution) == "fp16"
    with pytest.raises(FlyweightError, match=r"precision='fp16'\) needs a CUDA device, and this is cpu"):
        chosen_precision("fp16", CPU, convolution)


def test_channels_last_is_for_images_and_convolutions():
    assert wants_channels_last(convolution, IMAGE, CPU, "no")
    assert wants_channels_last(convolution, IMAGE, CUDA, "bf16")
    assert not wants_channels_last(convolution, IMAGE, CUDA, "no")
    assert not wants_channels_last(perceptron, IMAGE, CPU, "no")
    assert not wants_channels_last(convolution, (torch.zeros(1, 8),), CPU, "no")


def test_the_layout_is_set_and_undone_with_values_and_parameters_in_place():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1))
    model[0].register_buffer("mask", torch.rand(4, 1, 3, 3))
    parameters, values = list(model.parameters()), {n: v.clone() for n, v in model.state_dict().items()}
    strides = {n: v.stride() for n, v in model.state_dict().items()}
    lay_out(model, True)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[0].mask.stride() != strides["0.mask"]
    lay_out(model, False)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert {n: v.stride() for n, v in model.state_dict().items()} == strides
    assert all(v.equal(values[n]) for n, v in model.state_dict().items())


def test_accelerators_state_is_ours_inside_and_as_before_outside():
    from accelerate.state import AcceleratorState, PartialState

    before = dict(PartialState._shared_state), dict(AcceleratorState._shared_state)
    with accelerator(CPU, "bf16") as outer:
        assert outer.mixed_precision == "bf16"
        with accelerator(CPU, "no") as inner:
            assert inner.mixed_precision == "no"
        assert AcceleratorState().mixed_precision == "bf16"
    assert (PartialState._shared_state, AcceleratorState._shared_state) == before
