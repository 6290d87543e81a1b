import pytest
import torch
from torch.nn import functional as F

from flyweight.core.errors import ShapeError
from flyweight.models.vit import vit

# DeiT's table 1 (5.7, 22, 86 M), to the last parameter as published with the weights: width, heads → parameters.
PUBLISHED = {(1, 3): 5_717_416, (2, 6): 22_050_664, (4, 12): 86_567_656}


@pytest.mark.parametrize(("width", "heads"), PUBLISHED)
def test_has_the_published_parameters(width, heads):
    with torch.device("meta"):
        model = vit(width, heads=heads)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[width, heads]
    assert model.blocks[0].attention.each == 64


def test_attention_is_torch_s_head_by_head():
    torch.manual_seed(0)
    model = vit(0.25, 1, 3, 5, 1, 8, 4)
    attention, x = model.blocks[0].attention, torch.randn(2, 5, 48)
    q, k, v = (part.view(2, 5, 3, 16).transpose(1, 2) for part in attention.qkv(x).chunk(3, -1))
    wanted = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 48)
    torch.testing.assert_close(attention(x), attention.project(wanted))


def test_order_counts_only_through_positions():
    """Without positions the class token sees a set of patches: moving patches about changes nothing."""
    torch.manual_seed(0)
    model, x = vit(0.25, 2, 3, 5, 1, 8, 4).eval(), torch.randn(2, 1, 8, 8)
    moved = x.roll(4, 3)
    assert not torch.allclose(model(x), model(moved), atol=1e-5)
    with torch.no_grad():
        model.positions.zero_()
    torch.testing.assert_close(model(x), model(moved), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"size": 28}, r"patches of 16×16 do not fill images of 28×28\. Choose .* 28 \(2, 4, 7, 14\)\."),
        ({"size": 7, "patch": 2}, r"Choose a patch that divides 7\."),
        ({"depth": 0}, "0 blocks of 3 heads"),
        ({"heads": 0}, "12 blocks of 0 heads"),
    ],
)
def test_no_such_network(settings, text):
    with pytest.raises(ShapeError, match=text):
        vit(**settings)
