import pytest
import torch

from flyweight.core.errors import ShapeError
from flyweight.models.convnext import convnext
from flyweight.models.drop_path import DropPath

# As published with the weights: T, S, B, L.
PUBLISHED = {
    (1, (3, 3, 9, 3)): 28_589_128,
    (1, (3, 3, 27, 3)): 50_223_688,
    (4 / 3, (3, 3, 27, 3)): 88_591_464,
    (2, (3, 3, 27, 3)): 197_767_336,
}


@pytest.mark.parametrize(("width", "depths"), PUBLISHED)
def test_has_the_published_parameters(width, depths):
    with torch.device("meta"):
        model = convnext(width, depths)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[width, depths]


def test_starts_as_the_paper_says():
    model = convnext(0.25, (1, 1), patch=2)
    for name, parameter in model.named_parameters():
        if name.endswith("scale"):
            assert (parameter == 1e-6).all()
        elif "norm" not in name and name.endswith("weight") and parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name


def test_paths_are_dropped_ever_more_often_and_in_training_alone():
    model = convnext(0.125, (2, 3), patch=2, drop_path=0.4)
    rates = [m.p for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_dropped_path_is_whole_and_the_mean_stays():
    torch.manual_seed(0)
    layer, x = DropPath(0.25), torch.ones(4000, 3, 2)
    out = layer(x)
    assert all(len(example.unique()) == 1 for example in out[:50])
    assert sorted(out.unique().tolist()) == pytest.approx([0, 1 / 0.75])
    assert out.mean().item() == pytest.approx(1, abs=0.03)
    assert layer.eval()(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_no_share(p):
    with pytest.raises(ShapeError, match=r"p is the share left out, 0 ≤ p < 1\."):
        DropPath(p)


@pytest.mark.parametrize("depths", [(), (3, 0)])
def test_no_depth(depths):
    with pytest.raises(ShapeError, match="Give each stage a block at least"):
        convnext(depths=depths)
