import pytest
import torch
from torch import nn

from flyweight.core.errors import ShapeError
from flyweight.models.unet import unet


def test_has_the_paper_s_parameters():
    """Figure 1's layers by hand: 3×3 pairs down and up, 2×2 transposed between, 1×1 to two classes, all with biases."""

    def twice(inputs, outputs):
        return inputs * outputs * 9 + outputs * outputs * 9 + 2 * outputs

    down = sum(twice(a, b) for a, b in [(1, 64), (64, 128), (128, 256), (256, 512), (512, 1024)])
    up = sum(a * b * 4 + b + twice(a, b) for a, b in [(1024, 512), (512, 256), (256, 128), (128, 64)])
    with torch.device("meta"):
        assert sum(p.numel() for p in unet(norm=False).parameters()) == down + up + 64 * 2 + 2 == 31_030_658


@pytest.mark.parametrize(("depth", "size"), [(1, 6), (3, 24), (4, 32)])
def test_gives_logits_of_each_pixel(depth, size):
    assert unet(depth, 1 / 16, classes=3, channels=2)(torch.randn(2, 2, size, 2 * size)).shape == (2, 3, size, 2 * size)


def test_the_decoder_reads_the_encoder_s_map_of_its_size():
    """What goes into a level of the decoder begins with the encoder's map, as it was."""
    torch.manual_seed(0)
    model, x = unet(1, 1 / 8).eval(), torch.randn(1, 1, 16, 16)
    kept = {}
    model.up[0].register_forward_pre_hook(lambda _, given: kept.update(up=given[0]))
    model.down[0].register_forward_hook(lambda _, __, out: kept.update(down=out))
    model(x)
    assert torch.equal(kept["up"][:, : kept["down"].shape[1]], kept["down"])


def test_norm_can_be_left_out():
    assert not any(isinstance(m, nn.BatchNorm2d) for m in unet(1, 1 / 16, norm=False).modules())
    assert all(m.bias is None for m in unet(1, 1 / 16).down.modules() if isinstance(m, nn.Conv2d))


def test_no_depth():
    with pytest.raises(ShapeError, match="cannot have 0 halvings"):
        unet(0)
