import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.core.errors import ShapeError
from flyweight.models.survey_cnn import survey_cnn

# The author's public notebook, CIFAR-10: width → parameters as Keras counts them.
PAPER = {0.05: 14_713, 0.1: 26_044, 0.25: 98_570, 0.5: 350_058, 0.75: 764_874, 1.0: 1_343_018, 1.4: 2_606_654}


@pytest.mark.parametrize("width", PAPER)
def test_has_the_paper_s_parameters(width):
    """Keras counts batch-norm's running mean and variance too, and theirs has a bias on each convolution, ours none."""
    model = survey_cnn(width, classes=10, channels=3, size=32)
    ours = sum(p.numel() for p in model.parameters())
    outputs = sum(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    statistics, biases = 2 * outputs, outputs
    assert ours + statistics + biases == PAPER[width]


@pytest.mark.parametrize(("size", "channels", "classes"), [(28, 1, 10), (32, 3, 10), (8, 2, 3), (31, 1, 7)])
def test_takes_images_and_gives_logits(size, channels, classes):
    model = survey_cnn(0.1, classes, channels, size)
    out = model(torch.randn(2, channels, size, size))
    assert out.shape == (2, classes)
    assert (out < 0).any()


@settings(deadline=None, max_examples=20)
@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_wider_is_never_smaller(one, two):
    small, large = (sum(p.numel() for p in survey_cnn(w).parameters()) for w in sorted((one, two)))
    assert small <= large


def test_the_first_two_layers_are_not_scaled_and_every_convolution_is_followed_by_batch_norm_and_relu():
    layers = list(survey_cnn(0.25).features)
    convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert [layers[i].out_channels for i in convolutions] == [32, 32, 16, 16, 32, 32]
    for i in convolutions:
        assert isinstance(layers[i + 1], nn.BatchNorm2d)
        assert isinstance(layers[i + 2], nn.ReLU)
        assert layers[i].bias is None


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_no_width(width):
    with pytest.raises(ShapeError, match="Give a width above 0"):
        survey_cnn(width)


def test_too_small_images():
    with pytest.raises(ShapeError, match=r"1×7×7 images of 10 classes\. Three poolings need"):
        survey_cnn(size=7)
