"""What is found to go together, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import coupled_nets
import tiny
from flyweight.core.errors import UnsupportedError
from flyweight.core.key import model_key
from flyweight.surgery.couple.couple import couple

FOUND = {
    "Flat": {"0": 6, "4": 8, "9": 10},
    "Residual": {"stem": 6, "one.0": 8},
    "PaddedShortcut": {"stem": 4},
    "Dense": {"stem": 4, "layers.0.2": 3, "layers.1.2": 3, "layers.2.2": 3},
    "Inverted": {"stem": 4, "expand.0": 12},
    "Grouped": {"stem": 4},
    "Shuffle": {"stem": 6},
    "Excite": {"conv": 8, "squeeze": 4},
    "Shaped": {"down.0": 6, "up": 5, "mix": 6},
    "NeXt": {"wide": 12},
    "Attention": {"qkv": 4},
    "Windows": {"q": 3, "o": 6},
    "Mixer": {"patches": 6, "channels.0": 9},
    "SharedKeys": {"q": 2, "gate_up": 10},
    "Encoder": {"layer.self_attn": 4, "layer.linear1": 12, "memory": 6, "cross": 2, "cross.out_proj": 8},
    "Upscale": {"start": 5, "line": 8, "wide": 3, "deep": 5},
    "Gated": {"one": 5, "mid": 8},
    "Recurrent": {"first": 8, "after": 7},
}
HEADS = {"Attention": {"qkv"}, "Windows": {"q"}, "SharedKeys": {"q"}, "Encoder": {"layer.self_attn", "cross"}}


@pytest.mark.parametrize("name", FOUND)
def test_groups_have_the_units_that_can_go_alone(name: str) -> None:
    model, example = coupled_nets.net(name)
    before = model_key(model)
    coupling = couple(model, example)
    assert {group.label: group.units for group in coupling.groups} == FOUND[name]
    assert {group.label for group in coupling.groups if group.kind == "head"} == HEADS.get(name, set())
    assert model_key(model) == before
    assert all(reason for reason in coupling.refused.values())


@pytest.mark.parametrize("name", FOUND)
def test_slices_are_disjoint_and_in_range(name: str) -> None:
    model, example = coupled_nets.net(name)
    shapes = {n: t.shape for n, t in model.state_dict().items()}
    taken: dict[tuple[str, int], set[int]] = {}
    for group in couple(model, example).groups:
        assert {"output", "input"} <= {s.role for s in group.slices} | {"output"}
        for at in group.slices:
            assert at.indices.shape[0] == group.units
            indices = at.indices.flatten().tolist()
            assert len(set(indices)) == len(indices) and max(indices) < shapes[at.name][at.dim]
            others = taken.setdefault((at.name, at.dim), set())
            mine = {s.role for s in group.slices if (s.name, s.dim) == (at.name, at.dim)}
            assert len(mine) > 1 or not others & set(indices)
            others |= set(indices)


def test_a_flattened_channel_owns_a_column_for_each_pixel() -> None:
    coupling = couple(tiny.tiny_cnn(), (torch.zeros(1, 1, 8, 8),))
    read = next(s for s in coupling.groups[1].slices if s.role == "input")
    assert read.name == "9.weight"
    assert torch.equal(read.indices, torch.arange(64).view(16, 4))


def test_a_residual_stage_is_one_group_with_all_that_it_touches() -> None:
    (group,) = couple(tiny.TinyResidual(), (torch.zeros(2, 1, 8, 8),)).groups
    told = {(s.name, s.dim, s.role) for s in group.slices}
    assert ("stem.0.bias", 0, "output") in told and ("one.0.weight", 0, "output") in told
    assert ("one.0.weight", 1, "input") in told and ("head.weight", 1, "input") in told
    assert ("two.0.weight", 0, "follow") in told and ("two.1.running_var", 0, "follow") in told


def test_a_shared_parameter_is_told_under_both_names() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(7, 6), nn.Linear(6, 7, bias=False)
            self.out.weight = self.words.weight

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(self.words(tokens))

    (group,) = couple(Tied(), (torch.zeros(2, 3, dtype=torch.int64),)).groups
    assert {(s.name, s.dim, s.role) for s in group.slices} == {
        ("words.weight", 1, "output"),
        ("out.weight", 1, "input"),
    }


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("Recurrent", "before", "lstm of layer 'lstm' is not known to the trace"),
        ("Attention", "project", "layer_norm of layer 'norm' normalises over it"),
        ("Flat", "13", "makes the model's output"),
        ("Excite", "place", "mul of the model's own forward joins it with what has to stay, along another dimension"),
        ("Shaped", "deep.0", "runs over it"),
        ("SharedKeys", "logits", "any entry of embedding of layer 'words' may be asked for"),
    ],
)
def test_what_has_to_stay_is_told_with_the_operation_and_its_layer(name: str, layer: str, reason: str) -> None:
    coupling = couple(*coupled_nets.net(name))
    assert reason in coupling.refused[layer]


def test_what_cannot_be_exported_is_named() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError, match=r"Branching cannot be traced.*test_couple.py:\d+ \(return x if x.sum"):
        couple(Branching(), (torch.zeros(2, 3),))


def test_uneven_slices_and_single_channels_stay() -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.head = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.one(x), self.two(x)
            a = torch.cat([a[:, :2], a[:, 2:].relu()], 1)
            return self.head(a) + self.head(b) * b[:, 3:4]

    coupling = couple(Sliced(), (torch.zeros(2, 4),))
    assert not coupling.groups
    assert "slice of the model's own forward divides it at fixed places" in coupling.refused["one"]
    assert "slice of the model's own forward divides it at fixed places" in coupling.refused["two"]


def test_chains_and_integers_hide_nothing() -> None:
    from flyweight.compress.quantize.aware import Aware
    from flyweight.compress.quantize.quantize import Quantize
    from flyweight.surgery.mask import mask_of

    task = tiny.task()
    masked = copy.deepcopy(task.model)
    mask_of(masked[4])
    mask_of(masked[9])
    plain = couple(task.model, task.example)
    for model in (masked, Quantize(activations=None)(task.model, task)):
        found = couple(model, task.example)
        assert [g.units for g in found.groups] == [g.units for g in plain.groups]
    simulated = couple(Quantize(aware=Aware())(task.model, task), task.example)
    assert {s.name for s in simulated.groups[0].slices} >= {"_0.layer.weight", "_0.norm.running_var"} or {
        s.name for s in simulated.groups[0].slices
    } >= {"0.layer.weight", "0.norm.running_var"}


def test_a_size_that_is_a_number_in_the_code_is_tried_and_refused() -> None:
    class Numbers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = 3
            self.one, self.two, self.mid, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.one(x).view(-1, self.heads, 2).softmax(-1).flatten(1)
            x = self.mid(self.two(x).view(-1, 6))
            return self.head(torch.cat([x[:, :3], x[:, 3:].relu()], 1))

    coupling = couple(Numbers(), (torch.zeros(2, 4),))
    assert {group.label: group.units for group in coupling.groups} == {"one": 3}
    assert "view of the model's own forward holds the size 6 as a number" in coupling.refused["two"]
    assert "slice of the model's own forward holds the size 3 as a number" in coupling.refused["mid"]


def test_products_with_vectors_are_followed() -> None:
    model = nn.Sequential(nn.Linear(4, 6), spectral_norm(nn.Linear(6, 6)), nn.Linear(6, 2)).eval()
    assert couple(model, (torch.zeros(2, 4),)).groups == ()
