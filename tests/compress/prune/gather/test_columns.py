import pytest
import torch
from torch import nn

from flyweight.compress.prune.gather.columns import column_squares, columns
from flyweight.core.errors import UnsupportedError

LAYERS = [
    (nn.Linear(5, 3), (4, 5)),
    (nn.Linear(5, 3), (4, 6, 2, 5)),
    (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    (nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2)), (2, 4, 9, 8)),
    (nn.Conv2d(4, 6, 3, groups=2, padding="same"), (2, 4, 6, 6)),
    (nn.Conv2d(4, 8, 3, groups=4, padding=1, padding_mode="reflect"), (2, 4, 6, 6)),
    (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), (2, 4, 5, 6)),
    (nn.Conv3d(2, 4, 2, groups=2, padding=1), (2, 2, 4, 3, 5)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else "")
def test_the_output_is_the_matrix_times_the_weight(layer, shape):
    x = torch.randn(shape)
    matrix = columns(layer, x)
    n, places, groups, width = matrix.shape
    assert n == shape[0] and width == layer.weight[0].numel() and groups == getattr(layer, "groups", 1)
    rows = layer.weight.reshape(groups, -1, width)
    product = torch.einsum("npgc,goc->npgo", matrix, rows).flatten(2)  # (examples, places, outputs)
    wanted = layer(x) if isinstance(layer, nn.Linear) else layer(x).movedim(1, -1)
    torch.testing.assert_close(product + layer.bias, wanted.reshape(n, places, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else "")
def test_squares_of_columns_without_making_them(layer, shape):
    x = torch.randn(shape)
    torch.testing.assert_close(column_squares(layer, x), columns(layer, x.double()).square().sum((0, 1)))


def test_one_example_without_its_dimension():
    assert columns(nn.Linear(5, 3), torch.randn(5)).shape == (1, 1, 1, 5)
    assert columns(nn.Conv2d(2, 3, 3), torch.randn(2, 5, 5)).shape == (1, 9, 1, 18)
    assert column_squares(nn.Conv2d(2, 3, 3), torch.randn(2, 5, 5)).shape == (1, 18)


def test_a_layer_that_is_no_matrix():
    with pytest.raises(
        UnsupportedError, match=r"ConvTranspose2d does not multiply its input by a matrix; those that do "
    ):
        columns(nn.ConvTranspose2d(2, 2, 2), torch.randn(1, 2, 3, 3))
