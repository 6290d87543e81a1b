"""Attention with heads of its own number, against torch's."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.chain import links
from flyweight.surgery.couple.attention import HeadedAttention, free_heads_
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.couple.dead import dead_units
from flyweight.surgery.couple.remove import remove_
from flyweight.surgery.coupling import Group, Slice
from flyweight.surgery.mask import Mask, mask_of


class Holder(nn.Module):
    """An attention where a trace finds it."""

    def __init__(self, **how: object) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 4, **how)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0])


def _group(units: int = 4) -> Group:
    return Group("attention", "head", units, (Slice("attention.out_proj.weight", 1, torch.zeros(4, 2), "input"),))


@pytest.mark.parametrize(
    ("batch_first", "bias", "own"), itertools.product([True, False], [True, False], [None, 6]), ids=str
)
def test_with_all_its_heads_it_is_torchs(batch_first: bool, bias: bool, own: int | None) -> None:
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 4, bias=bias, batch_first=batch_first, kdim=own)})
    twin = copy.deepcopy(model).double().eval()["attention"]
    assert isinstance(twin, nn.MultiheadAttention)
    mine = copy.deepcopy(twin)
    free_heads_(nn.ModuleDict({"attention": mine}), [_group()], {"attention": torch.tensor([True])})
    assert type(mine) is HeadedAttention
    mine.num_heads = 4
    query, value = torch.randn(2, 2, 3, 8, dtype=torch.float64).unbind(0)
    key = value if own is None else torch.randn(2, 3, own, dtype=torch.float64)
    masks = (None, torch.tensor([[0, 1, 0], [0, 0, 1]]).bool() if batch_first else torch.zeros(3, 2).bool())
    length = 3 if batch_first else 2
    added = (None, torch.randn(length, length, dtype=torch.float64), torch.ones(length, length).triu(1).bool())
    for weights, average, padding, mask in itertools.product([True, False], [True, False], masks, added):
        how = {
            "need_weights": weights, "average_attn_weights": average, "key_padding_mask": padding, "attn_mask": mask,
        }  # fmt: skip
        for got, wanted in zip(mine(query, key, value, **how), twin(query, key, value, **how), strict=True):
            assert (got is None) == (wanted is None)
            if wanted is not None:
                torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(mine(query[0], key[0], value[0])[0], twin(query[0], key[0], value[0])[0])


def test_chains_follow_heads() -> None:
    model, example = Holder(batch_first=True).eval(), (torch.randn(2, 5, 8),)
    mask_of(model.attention, "in_proj_weight").keep[0, 3] = False
    mask_of(model.attention.out_proj).keep[:, 2:6] = False
    wanted = model(*example)
    coupling = couple(model, example)
    dead = dead_units(model, coupling)
    assert dead["attention"].tolist() == [False, True, True, False]
    remove_(model, coupling, dead, example)
    torch.testing.assert_close(model(*example), wanted)
    assert type(model.attention).__mro__[1] is HeadedAttention and model.attention.num_heads == 2
    (mask,) = links(model.attention, "in_proj_weight")
    assert isinstance(mask, Mask) and mask.keep.shape == (12, 8) and int((~mask.keep).sum()) == 1
    assert not links(model.attention.out_proj)


def test_biases_of_keys_are_refused() -> None:
    model, example = Holder(add_bias_kv=True).eval(), (torch.randn(2, 5, 8),)
    before = copy.deepcopy(model.state_dict())
    coupling = couple(model, example)
    if any(group.kind == "head" for group in coupling.groups):
        with pytest.raises(UnsupportedError, match=r"heads of 'attention' cannot be removed.*add_bias_kv"):
            remove_(model, coupling, {"attention": torch.tensor([True, False, False, False])}, example)
    else:
        assert "attention" in coupling.refused
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    with pytest.raises(UnsupportedError, match="add_bias_kv or add_zero_attn. Exclude the layer"):
        free_heads_(model, [_group()], {"attention": torch.tensor([True])})
