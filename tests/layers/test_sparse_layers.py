"""The layers that run on the sparse kernels: against the dense ones that they are made of."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.layers.block import block_of
from flyweight.layers.depthwise_conv import DepthwiseConv2d
from flyweight.layers.sparse_block import SparseBlock
from flyweight.layers.sparse_conv import SparseConv2d, kept
from flyweight.layers.sparse_linear import SparseLinear
from flyweight.numerics.tiles import tile_elements, tile_sums
from flyweight.surgery.mask import mask_of


def pruned(layer, block=(4, 1), ratio=0.8):
    """``layer`` with a mask of random tiles."""
    tiles = len(tile_sums(layer.weight.detach(), block))
    mask_of(layer, block=block).keep.copy_(tile_elements(torch.rand(tiles) > ratio, layer.weight.shape, block))
    return layer.eval()


def zeroed(layer):
    """``layer`` with zeros in place of a mask."""
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < 0.3)
    return layer.eval()


CONVS = {
    "1x1": lambda: nn.Conv2d(12, 20, 1),
    "3x3": lambda: nn.Conv2d(12, 20, 3, padding=1, bias=False),
    "strided": lambda: nn.Conv2d(12, 18, (3, 5), stride=(2, 1), padding=(0, 3), dilation=(1, 2)),
    "same": lambda: nn.Conv2d(12, 16, (4, 2), padding="same", dilation=(1, 3)),
    "valid": lambda: nn.Conv2d(12, 16, 3, padding="valid"),
}


@pytest.mark.parametrize("make", CONVS.values(), ids=CONVS.keys())
@pytest.mark.parametrize("block", [(1, 1), (4, 1), (16, 1), None])
def test_a_convolution_computes_what_it_did(make, block):
    layer = pruned(make())
    sparse = SparseConv2d.from_dense(layer, block)
    for x in (torch.randn(2, 12, 11, 9), torch.randn(12, 11, 9), torch.randn(0, 12, 11, 9)):
        with torch.no_grad():
            torch.testing.assert_close(sparse(x), layer(x), rtol=1e-4, atol=1e-5)
    assert torch.equal(sparse.weight, layer.weight)
    assert kept(sparse) < 0.5 or block == (16, 1)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_computes_what_it_did(bias):
    layer = pruned(nn.Linear(30, 41, bias=bias))
    sparse = SparseLinear.from_dense(layer)
    assert sparse.block == (4, 1)
    for shape in ((30,), (3, 30), (2, 5, 30), (0, 30)):
        x = torch.randn(shape)
        with torch.no_grad():
            torch.testing.assert_close(sparse(x), layer(x), rtol=1e-4, atol=1e-5)


def test_a_depthwise_computes_what_it_did():
    layer = nn.Conv2d(10, 10, 3, stride=2, padding=1, groups=10)
    with torch.no_grad():
        for x in (torch.randn(2, 10, 9, 9), torch.randn(10, 9, 9)):
            found = DepthwiseConv2d.from_dense(layer, "Relu6")(x)
            torch.testing.assert_close(found, F.relu6(layer(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("expands", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_a_block_computes_what_its_parts_compute(expands, residual):
    expand = SparseConv2d.from_dense(zeroed(nn.Conv2d(8, 24, 1)), activation="Relu6") if expands else None
    middle = DepthwiseConv2d.from_dense(nn.Conv2d(24, 24, 3, padding=1, groups=24), "Relu6")
    last = SparseConv2d.from_dense(zeroed(nn.Conv2d(24, 8 if expands else 24, 1)))
    block = SparseBlock(expand, middle, last, residual)
    for x in (torch.randn(2, 8 if expands else 24, 7, 7), torch.randn(8 if expands else 24, 7, 7)):
        with torch.no_grad():
            expected = last(middle(x if expand is None else expand(x))) + (x if residual else 0)
            torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["Relu", "Relu6", "HardSwish", "Gelu"])
def test_activations_and_residuals(activation):
    functions = {"Relu": F.relu, "Relu6": F.relu6, "HardSwish": F.hardswish, "Gelu": F.gelu}
    layer, linear = zeroed(nn.Conv2d(6, 9, 1)), zeroed(nn.Linear(6, 9))
    x, y = torch.randn(2, 6, 5, 5), torch.randn(2, 9, 5, 5)
    with torch.no_grad():
        found = SparseConv2d.from_dense(layer, activation=activation)(x, y)
        torch.testing.assert_close(found, functions[activation](layer(x) + y), rtol=1e-4, atol=1e-5)
        found = SparseLinear.from_dense(linear, activation=activation)(x[:, :, 0, 0], y[:, :, 0, 0])
        expected = functions[activation](linear(x[:, :, 0, 0]) + y[:, :, 0, 0])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def layers():
    """One of each, and what it takes."""
    return {
        "conv": (SparseConv2d.from_dense(zeroed(nn.Conv2d(8, 12, 3, padding=1))), torch.randn(2, 8, 6, 6)),
        "linear": (SparseLinear.from_dense(zeroed(nn.Linear(8, 12)), activation="Gelu"), torch.randn(3, 8)),
        "depthwise": (DepthwiseConv2d.from_dense(nn.Conv2d(8, 8, 3, groups=8)), torch.randn(2, 8, 6, 6)),
        "block": (
            SparseBlock(
                SparseConv2d.from_dense(zeroed(nn.Conv2d(8, 12, 1)), activation="Relu"),
                DepthwiseConv2d.from_dense(nn.Conv2d(12, 12, 3, padding=1, groups=12)),
                SparseConv2d.from_dense(zeroed(nn.Conv2d(12, 8, 1))),
                residual=True,
            ),
            torch.randn(2, 8, 6, 6),
        ),
    }


each = pytest.mark.parametrize("name", ["conv", "linear", "depthwise", "block"])


@each
def test_values_are_saved_and_loaded(name):
    layer, x = layers()[name]
    before = layer(x)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not torch.allclose(other(x), before)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), before) and torch.equal(layer(x), before)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), before)


@each
def test_exported_it_holds_plain_tensors_and_takes_any_batch(name):
    layer, x = layers()[name]
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    assert {tensor.dtype for tensor in program.state_dict.values()} <= {torch.float32, torch.uint8}
    assert set(program.state_dict) == set(layer.state_dict())
    for count in (1, 5):
        many = torch.randn(count, *x.shape[1:])
        torch.testing.assert_close(program.module()(many), layer(many))


@each
def test_other_types_gradients_and_moves(name):
    layer, x = layers()[name]
    before = layer(x)
    torch.testing.assert_close(layer.double()(x.double()).float(), before, rtol=1e-4, atol=1e-5)
    layer.float()
    x.requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    assert layer.to("meta")(x.detach().to("meta")).shape == before.shape


def test_made_in_inference_mode_it_is_like_any_other():
    with torch.inference_mode():
        layer = SparseLinear.from_dense(nn.Linear(8, 12))
    assert not layer.values.is_inference()
    layer(torch.randn(3, 8))


def test_the_tile_is_that_of_the_mask():
    for rows in (1, 2, 4, 8, 16):
        assert block_of(pruned(nn.Conv2d(20, 64, 1), (rows, 1)).weight) == (rows, 1)
    assert block_of(torch.zeros(8, 8)) == (8, 1)
    assert block_of(torch.ones(3, 5)) == (1, 1)  # two tiles of two rows would hold a third more than is needed


def test_attention_of_torch_reads_the_weight_of_a_layer():
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 3, 8)
    before = attention(x, x, x)[0]
    attention.out_proj = SparseLinear.from_dense(attention.out_proj)
    torch.testing.assert_close(attention(x, x, x)[0], before)


REFUSED = {
    "groups": (lambda: SparseConv2d.from_dense(nn.Conv2d(8, 8, 3, groups=2)), ["groups", "2", "Leave"]),
    "reflect": (lambda: SparseConv2d.from_dense(nn.Conv2d(8, 8, 3, 1, 1, padding_mode="reflect")), ["'reflect'"]),
    "conv1d": (lambda: SparseConv2d.from_dense(nn.Conv1d(8, 8, 3)), ["Conv1d", "Leave the layer dense"]),
    "linear": (lambda: SparseLinear.from_dense(nn.Conv2d(8, 8, 1)), ["Conv2d", "nn.Linear"]),
    "multiplier": (lambda: DepthwiseConv2d.from_dense(nn.Conv2d(8, 16, 3, groups=8)), ["8 channels to 16", "8 groups"]),
    "block": (lambda: SparseConv2d(torch.zeros(8, 8, 1, 1), block=(3, 1)), ["(3, 1)", "1, 2, 4, 8, 16"]),
    "activation": (lambda: SparseLinear(torch.zeros(8, 8), activation="relu"), ["'relu'", "Did you mean 'Relu'"]),
    "bias": (lambda: SparseLinear(torch.zeros(8, 8), torch.zeros(7)), ["8 rows", "(7,)"]),
    "window": (lambda: SparseConv2d(torch.zeros(8, 8, 1, 1), window=(1, 1)), ["(1, 1)", "stride"]),
    "no depthwise": (lambda: DepthwiseConv2d(torch.zeros(8, 2, 3, 3)), ["DepthwiseConv2d", "(8, 2, 3, 3)", "groups"]),
    "strided": (
        lambda: SparseBlock(
            None,
            DepthwiseConv2d(torch.zeros(8, 1, 3, 3)),
            SparseConv2d(torch.zeros(8, 8, 1, 1), window=(2, 2, 1, 1, 0, 0, 0, 0)),
        ),
        ["project", "1×1", "apart"],
    ),
    "widths": (
        lambda: SparseBlock(None, DepthwiseConv2d(torch.zeros(8, 1, 3, 3)), SparseConv2d(torch.zeros(8, 9, 1, 1))),
        ["8 channels", "takes 9"],
    ),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_kernel_is_refused_in_words(make, words):
    with pytest.raises(FlyweightError) as error:
        make()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_subclass_that_computes_otherwise_is_refused():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(UnsupportedError, match="Doubled"):
        SparseLinear.from_dense(Doubled(3, 3))


def test_it_tells_what_it_is():
    layer = SparseLinear(torch.eye(4), block=(1, 1), activation="Relu")
    assert repr(layer) == "SparseLinear((4, 4), block=(1, 1), kept=25%, activation=Relu)"
