"""The structure from shapes."""

from __future__ import annotations

import copy

import pytest
import torch

import coupled_nets
import tiny
from flyweight.core.errors import StoreError
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.couple.rebuild import rebuild_
from flyweight.surgery.couple.remove import remove_
from flyweight.surgery.mask import mask_of


@pytest.mark.parametrize("name", ["Dense", "Grouped", "Shuffle", "SharedKeys", "Encoder"])
def test_shapes_bring_the_structure_back_and_values_load(name: str) -> None:
    model, example = coupled_nets.net(name)
    fresh, _ = coupled_nets.net(name)
    coupling = couple(model, example)
    model = remove_(model, coupling, coupled_nets.silence(model, coupling, 0.5, 4), example)
    wanted = coupled_nets.outputs(model, example)
    state = model.state_dict()
    again = rebuild_(fresh, coupling, state, example)
    again.load_state_dict(state)
    for a, b in zip(wanted, coupled_nets.outputs(again, example), strict=True):
        assert torch.equal(a, b)


def test_masks_are_where_the_state_has_them() -> None:
    task = tiny.task()
    plain, masked = task.model, copy.deepcopy(task.model)
    for place in (0, 4, 9):
        mask_of(masked[place])
    state = plain.state_dict()
    state["4.parametrizations.weight.0.keep"] = torch.ones(1)
    state["4.parametrizations.weight.original"] = state.pop("4.weight")
    found = rebuild_(masked, couple(masked, task.example), state, task.example).state_dict()
    assert {key for key in found if "weight" in key and key[0] in "049"} == {
        "0.weight", "4.parametrizations.weight.0.keep", "4.parametrizations.weight.original", "9.weight",
    }  # fmt: skip


def test_shapes_that_no_removal_gives_are_refused() -> None:
    task = tiny.task()
    coupling = couple(task.model, task.example)
    state = task.model.state_dict()
    state["9.weight"] = state["9.weight"][:, :-3]
    with pytest.raises(StoreError, match=r"'9.weight' has 64 indices along dimension 1, and the kept values have 61"):
        rebuild_(task.model, coupling, state, task.example)
    state = {key: tensor for key, tensor in task.model.state_dict().items() if key[0] not in "459"}
    with pytest.raises(StoreError, match=r"do not tell how many units of '4' were removed. Take Remove\(\) later"):
        rebuild_(task.model, coupling, state, task.example)
