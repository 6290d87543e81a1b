import pytest
import torch
from torch import nn

from flyweight.core.errors import ShapeError
from flyweight.models.resnet import resnet

# Published with option A, whose shortcuts have no weights (0.27, 0.46, 0.66, 0.85, 1.7 M in the paper's table 6).
OPTION_A = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
SHORTCUTS = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


@pytest.mark.parametrize("depth", OPTION_A)
def test_has_the_paper_s_parameters(depth):
    with torch.device("meta"):
        model = resnet(depth, channels=3)
    assert sum(p.numel() for p in model.parameters()) == OPTION_A[depth] + SHORTCUTS
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in model.modules()) == depth - 1


@pytest.mark.parametrize("size", [4, 28, 32])
def test_takes_images_and_gives_logits(size):
    assert resnet(8, 0.25, classes=7, channels=2)(torch.randn(2, 2, size, size)).shape == (2, 7)


def test_convolutions_start_as_he_et_al_draw_them():
    model = resnet(20)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 5000:
            wanted = (2 / (layer.out_channels * layer.kernel_size[0] ** 2)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize(("depth", "nearest"), [(18, 20), (57, 56), (1, 8)])
def test_no_such_depth(depth, nearest):
    with pytest.raises(ShapeError, match=rf"no ResNet-{depth} .* The nearest is {nearest}\."):
        resnet(depth)
