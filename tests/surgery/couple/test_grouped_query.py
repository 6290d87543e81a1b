"""Attention in which several query heads share one of keys and values: they go together, as in Llama-like models."""

from __future__ import annotations

import pytest
import torch

import coupled_nets
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.head import head
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.surgery.couple.couple import couple
from nets import plain_task

TOKENS = torch.arange(14).view(2, 7) * 3 % 40


@pytest.mark.parametrize(
    ("attention", "heads", "pairs", "left"),
    [
        ("eager", 4, 2, (2, 1)),  # sizes that are one number: heads a group, groups, and what is left of both
        pytest.param("sdpa", 8, 4, (4, 2), marks=pytest.mark.slow),
        pytest.param("sdpa", 4, 1, (2, 1), marks=pytest.mark.slow),
    ],
)
def test_the_smaller_model_is_the_one_of_that_configuration(
    attention: str, heads: int, pairs: int, left: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = coupled_nets.llama(attention, heads, pairs)
    task = plain_task(model, TOKENS)
    masked = run([Prune(0.5, structure=head()), Prune(0.5, structure=channel())], model, task)
    smaller = run([Remove()], masked, task)
    assert torch.allclose(smaller(TOKENS), masked(TOKENS), atol=1e-6)
    # transformers' own network of so many heads, with the rows that are left.
    wanted = coupled_nets.llama(attention, *left)
    for layer in wanted.model.model.layers:
        layer.mlp.gate_proj, layer.mlp.up_proj = (torch.nn.Linear(32, 24, bias=False) for _ in range(2))
        layer.mlp.down_proj = torch.nn.Linear(24, 32, bias=False)
    wanted.load_state_dict(smaller.state_dict())
    assert torch.equal(wanted(TOKENS), smaller(TOKENS))
    assert not torch.allclose(smaller(TOKENS), model(TOKENS), atol=1e-3)
    for mine, theirs in zip(smaller.model.model.layers, wanted.model.model.layers, strict=True):
        assert mine.self_attn.num_key_value_groups == theirs.self_attn.num_key_value_groups


def test_a_unit_is_a_key_value_head_with_all_that_ask_it() -> None:
    model = coupled_nets.llama("eager", 4, 2)
    groups = [group for group in couple(model, (TOKENS,)).groups if group.kind == "head"]
    assert [group.units for group in groups] == [2, 2]
    rows = {at.name.rpartition("self_attn.")[2]: at.indices[1].tolist() for at in groups[0].slices}
    assert rows == {
        "q_proj.weight": list(range(16, 32)),
        "k_proj.weight": list(range(8, 16)),
        "v_proj.weight": list(range(8, 16)),
        "o_proj.weight": list(range(16, 32)),
    }


@pytest.mark.slow
def test_it_comes_back_from_the_store(tmp_path) -> None:
    model = coupled_nets.llama("eager", 4, 2)
    recipe, task = [Prune(0.5, structure=head()), Remove()], plain_task(model, TOKENS)
    first, again = (run(recipe, model, task, Store(tmp_path)) for _ in range(2))
    assert torch.equal(first(TOKENS), again(TOKENS))
    assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in model.parameters())
