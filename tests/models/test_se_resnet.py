import pytest
import torch

from flyweight.core.errors import ShapeError
from flyweight.models.resnet import resnet
from flyweight.models.se_resnet import se_resnet
from flyweight.models.squeeze_excite import SqueezeExcite


@pytest.mark.parametrize("depth", [20, 56, 110])
@pytest.mark.parametrize("reduction", [4, 16])
def test_adds_the_paper_s_parameters(depth, reduction):
    """Eq. 5: (2 / r) Σ_stages N · C²."""
    with torch.device("meta"):
        plain, weighed = resnet(depth), se_resnet(depth, reduction=reduction)
    added = sum(p.numel() for p in weighed.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == 2 * (depth - 2) // 6 * sum(count**2 for count in (16, 32, 64)) // reduction


def test_weighs_each_channel_by_the_equations():
    torch.manual_seed(0)
    layer, x = SqueezeExcite(8, 2), torch.randn(3, 8, 4, 5)
    z = x.mean((2, 3))
    s = torch.sigmoid(torch.relu(z @ layer.squeeze.weight.T) @ layer.excite.weight.T)
    torch.testing.assert_close(layer(x), torch.einsum("nchw,nc->nchw", x, s))
    assert layer.squeeze.weight.shape == (4, 8)


def test_never_without_a_neuron():
    assert SqueezeExcite(4, 16).squeeze.out_features == 1


def test_no_reduction():
    with pytest.raises(ShapeError, match="cannot be reduced 0 times"):
        se_resnet(reduction=0)
