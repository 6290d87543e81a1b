import pytest
import torch
from torch import nn

from flyweight.core.errors import ShapeError
from flyweight.models.vgg import vgg

# 20.04 M is network slimming's figure for VGG-19 (its table 1); the others follow the same layers by hand.
PARAMETERS = {11: 9_228_362, 13: 9_413_066, 16: 14_724_042, 19: 20_035_018}


@pytest.mark.parametrize("depth", PARAMETERS)
def test_has_the_published_parameters(depth):
    with torch.device("meta"):
        model = vgg(depth, channels=3)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[depth]
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth - 2  # three dense became one


@pytest.mark.parametrize("size", [16, 28, 32])
def test_takes_images_of_any_size(size):
    assert vgg(11, 1 / 16)(torch.randn(2, 1, size, size)).shape == (2, 10)


def test_starts_as_slimming_asks():
    norms = [m for m in vgg(11, 0.25).modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all((m.weight == 0.5).all() and (m.bias == 0).all() for m in norms)
    assert vgg(11, 0.5).head.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_no_such_depth():
    with pytest.raises(ShapeError, match=r"there is no VGG-12\. Choose a depth of 11, 13, 16, 19\."):
        vgg(12)
