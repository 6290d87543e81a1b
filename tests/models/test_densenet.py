import pytest
import torch

from flyweight.core.errors import ShapeError
from flyweight.models.densenet import densenet

# The paper's table 2, millions (CIFAR-10, colour): depth, growth, bottleneck and compression → parameters.
PAPER = {
    (40, 12, False): 1.0,
    (100, 12, False): 7.0,
    (100, 24, False): 27.2,
    (100, 12, True): 0.8,
    (250, 24, True): 15.3,
    (190, 40, True): 25.6,
}


@pytest.mark.parametrize(("depth", "growth", "bottleneck"), PAPER)
def test_has_the_paper_s_parameters(depth, growth, bottleneck):
    with torch.device("meta"):
        model = densenet(depth, growth / 12, channels=3, bottleneck=bottleneck)
    found = sum(p.numel() for p in model.parameters()) / 1e6
    assert round(found, 1) == PAPER[depth, growth, bottleneck]


def test_bc_100_12_to_the_last_parameter():
    with torch.device("meta"):
        assert sum(p.numel() for p in densenet(channels=3).parameters()) == 769_162


@pytest.mark.parametrize("size", [4, 28, 32])
def test_takes_images_of_any_size(size):
    assert densenet(10, 0.5)(torch.randn(2, 1, size, size)).shape == (2, 10)


def test_dropout_acts_in_training_alone():
    model, x = densenet(10, 0.5, dropout=0.5), torch.randn(4, 1, 8, 8)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize(
    ("depth", "bottleneck", "text"),
    [
        (41, True, r"BC-41: the depth is 6n \+ 4\. .* is 40\."),
        (12, False, r"DenseNet-12: the depth is 3n \+ 4\. .* is 13\."),
    ],
)
def test_no_such_depth(depth, bottleneck, text):
    with pytest.raises(ShapeError, match=text):
        densenet(depth, bottleneck=bottleneck)
