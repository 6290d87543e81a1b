import pytest
import torch
from torch import nn

from flyweight.core.errors import ShapeError
from flyweight.models.wide_resnet import wide_resnet

# The paper's table 4 in millions (CIFAR-10, colour): depth, k → parameters.
PAPER = {(40, 1): 0.6, (40, 2): 2.2, (40, 4): 8.9, (28, 10): 36.5, (22, 8): 17.2, (16, 8): 11.0, (16, 10): 17.1}


@pytest.mark.parametrize(("depth", "widen"), PAPER)
def test_has_the_paper_s_parameters(depth, widen):
    with torch.device("meta"):
        model = wide_resnet(depth, widen, channels=3)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == PAPER[depth, widen]


@pytest.mark.parametrize("size", [4, 28, 32])
def test_takes_images_and_gives_logits(size):
    assert wide_resnet(10, 0.5, classes=7, channels=2)(torch.randn(2, 2, size, size)).shape == (2, 7)


def test_the_default_is_wrn_22_2():
    model = wide_resnet()
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 22
    assert model.head.in_features == 128


def test_dropout_falls_between_the_convolutions_and_in_training_alone():
    torch.manual_seed(0)
    model, x = wide_resnet(10, 0.5, dropout=0.5), torch.randn(2, 1, 8, 8)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize(("depth", "nearest"), [(20, 22), (29, 28), (3, 10)])
def test_no_such_depth(depth, nearest):
    with pytest.raises(ShapeError, match=rf"no WRN-{depth}: .* The nearest is {nearest}\."):
        wide_resnet(depth)
