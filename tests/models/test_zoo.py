"""What every family owes: shapes, learning, width and depth, saving, exporting with parity."""

import pytest
import torch
from torch import nn

import zoo
from flyweight.core.key import model_key
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.parity import check_parity
from flyweight.tasks.cross_entropy import cross_entropy

NAMES = sorted(zoo.KINDS)
PLAIN = {"resnet", "survey_cnn", "unet", "vgg", "wide_resnet"}
"""Families of nothing but what other tests export every time."""


def _count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_gives_logits_of_the_classes(name):
    torch.manual_seed(0)
    out = zoo.build(name)(zoo.inputs(name, 3))
    pixels = zoo.KINDS[name].shape[1:] if name == "unet" else ()
    assert out.shape == (3, zoo.CLASSES, *pixels)
    assert out.isfinite().all() and out.std() > 1e-3
    assert (out.sum(1) - 1).abs().max() > 1e-3, "logits, not shares"


@pytest.mark.parametrize("name", NAMES)
def test_examples_do_not_see_each_other(name):
    model, x = zoo.build(name), zoo.inputs(name, 4)
    torch.testing.assert_close(model(x)[2:], model(x[2:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_wider_and_deeper_are_larger(name):
    with torch.device("meta"):
        kind = zoo.KINDS[name]
        small, wider, deeper = (_count(form()) for form in (kind.small, kind.wider, kind.deeper))
    assert wider > 1.4 * small
    assert deeper > small


@pytest.mark.parametrize("name", NAMES)
def test_learns_and_every_parameter_takes_part(name):
    torch.manual_seed(0)
    model, task = zoo.KINDS[name].small().train(), zoo.zoo_task(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = cross_entropy(model, task.data.train.tensors)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_comes_back_from_its_state_dict(name):
    model, other = zoo.build(name), zoo.build(name, seed=9)
    assert model_key(model) != model_key(other)
    other.load_state_dict(model.state_dict())
    x = zoo.inputs(name)
    assert torch.equal(model(x), other(x))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in PLAIN else n for n in NAMES])
def test_is_exported_and_the_file_agrees(name, tmp_path):
    task = zoo.zoo_task(name)
    artifact = export_onnx(task.model, task, tmp_path / "model.onnx")
    told = check_parity(task.model, artifact, task)
    assert told["examples"] == 32 and told["max_abs"] < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_draws_nothing(name):
    model, x = zoo.build(name), zoo.inputs(name)
    assert torch.equal(model(x), model(x))
    assert not any(m.inplace for m in model.modules() if isinstance(m, nn.ReLU | nn.ReLU6))
