"""Copies of models that torch does not copy."""

import warnings

import pytest
import torch
from torch import nn

from flyweight.core.copied import copied
from flyweight.core.errors import UnsupportedError


def test_a_copy_shares_nothing():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    other = copied(model)
    for mine, his in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, his) and mine.data_ptr() != his.data_ptr()


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_the_old_norms_are_named_with_the_way_out(norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.ReLU(), getattr(nn.utils, norm)(nn.Linear(3, 3)))
        model(torch.zeros(2, 3))
    with pytest.raises(UnsupportedError, match=rf"'weight' of module '1' .*old .*by torch.nn.utils.remove_{norm}\."):
        copied(model)
    getattr(nn.utils, f"remove_{norm}")(model[1])
    copied(model)


def test_a_tensor_that_a_module_computed_is_named():
    model = nn.Linear(3, 3)
    model.seen = model(torch.zeros(1, 3))
    with pytest.raises(
        UnsupportedError, match=r"Linear cannot be copied, for 'seen' of the model itself .* as a buffer"
    ):
        copied(model)
