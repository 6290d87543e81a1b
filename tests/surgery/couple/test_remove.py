"""The smaller model computes what the masked one does, or is refused."""

from __future__ import annotations

import copy

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

import coupled_nets
import tiny
from flyweight.core.errors import ShapeError, UnknownNameError, UnsupportedError
from flyweight.core.key import model_key
from flyweight.surgery.couple.collect import collect
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.couple.dead import dead_units
from flyweight.surgery.couple.follow import follow
from flyweight.surgery.couple.remove import remove_
from flyweight.surgery.coupling import Coupling
from flyweight.surgery.mask import mask_of

EXACT = 1e-9
"""Of the largest output, in float64: sums are taken in another order."""

_known: dict[str, tuple[nn.Module, tuple[Tensor, ...], Coupling]] = {}


def _net(name: str) -> tuple[nn.Module, tuple[Tensor, ...], Coupling]:
    if name not in _known:
        model, example = coupled_nets.net(name)
        _known[name] = model, example, couple(model, example)
    model, example, coupling = _known[name]
    return copy.deepcopy(model), example, coupling


def _same(one: list[Tensor], two: list[Tensor], tolerance: float = EXACT) -> None:
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * (a.abs().max() + 1e-12)


@pytest.mark.parametrize("name", coupled_nets.NETS)
@settings(max_examples=2, deadline=None)
@given(ratio=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), seed=st.integers(0, 1000))
def test_without_dead_units_the_model_computes_the_same(name: str, ratio: float, seed: int) -> None:
    model, example, coupling = _net(name)
    dropped = coupled_nets.silence(model, coupling, ratio, seed)
    wanted = coupled_nets.outputs(model, example)
    sizes = {n: t.shape for n, t in model.named_parameters()}
    found = dead_units(model, coupling)
    assert all(bool((found[label] >= drop).all()) for label, drop in dropped.items())
    smaller = remove_(model, coupling, dropped, example)
    assert smaller is model
    _same(wanted, coupled_nets.outputs(smaller, example))
    for group in coupling.groups:
        for at in group.slices:
            shape = smaller.state_dict()[at.name].shape
            assert shape[at.dim] <= shape[at.dim] + int(dropped[group.label].sum()) * at.indices.shape[1]
            if dropped[group.label].any() and at.name in sizes:
                assert shape.numel() < sizes[at.name].numel()


AGAIN = ("Residual", "Grouped", "Attention", "SharedKeys")


@pytest.mark.parametrize(
    "name", [name if name in AGAIN else pytest.param(name, marks=pytest.mark.slow) for name in coupled_nets.NETS]
)
def test_a_smaller_model_learns_and_can_be_cut_again(name: str) -> None:
    model, example, coupling = _net(name)
    model = remove_(model, coupling, coupled_nets.silence(model, coupling, 0.4, 1), example)
    again = couple(model, example)
    assert {group.kind for group in again.groups} <= {group.kind for group in coupling.groups}
    dropped = coupled_nets.silence(model, again, 0.4, 2)
    wanted = coupled_nets.outputs(model, example)
    model = remove_(model, again, dropped, example)
    _same(wanted, coupled_nets.outputs(model, example))
    out = model.train()(*example)
    sum(t.square().mean() for t in (out.values() if isinstance(out, dict) else [out])).backward()  # type: ignore[union-attr]
    assert all(p.grad is None or p.grad.shape == p.shape for p in model.parameters())


@pytest.mark.parametrize(
    "name",
    ["SharedKeys", *(pytest.param(name, marks=pytest.mark.slow) for name in coupled_nets.NETS if name != "SharedKeys")],
)
def test_a_smaller_model_goes_to_onnx(name: str, tmp_path: object) -> None:
    model, example, coupling = _net(name)
    model = remove_(model, coupling, coupled_nets.silence(model, coupling, 0.5, 3), example).float()
    inputs = tuple(t.float() if t.is_floating_point() else t for t in example)
    program = torch.onnx.export(model, inputs, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    fed = {i.name: t.numpy() for i, t in zip(session.get_inputs(), inputs, strict=True)}
    _same(coupled_nets.outputs(model, inputs), [torch.from_numpy(t) for t in session.run(None, fed)], 1e-4)


def test_layers_are_told_their_sizes() -> None:
    model, example, coupling = _net("Grouped")
    drop = torch.tensor([True, False, True, False])
    for at in coupling.groups[0].slices:
        if at.role == "input":
            with torch.no_grad():
                model.get_parameter(at.name).index_fill_(at.dim, at.indices[drop].flatten(), 0)
    model = remove_(model, coupling, {"stem": drop}, example)
    assert (model.stem.out_channels, model.conv.groups, model.conv.in_channels, model.conv.out_channels) == (4, 2, 4, 8)
    assert (model.back.groups, model.back.in_channels, model.back.out_channels, model.head.in_channels) == (2, 8, 4, 4)
    assert (model.norm.num_groups, model.norm.num_channels, model.each.num_groups) == (2, 8, 8)


def test_numbers_of_heads_are_set_where_the_code_reads_them() -> None:
    model, example, coupling = _net("Attention")
    model = remove_(model, coupling, _only(model, coupling, "qkv", 3), example)
    assert model.heads == 1 and model.qkv.out_features == 9 and model.project.in_features == 3
    model, example, coupling = _net("SharedKeys")
    model = remove_(model, coupling, _only(model, coupling, "q", 1), example)
    assert (model.heads, model.keys, model.size) == (2, 1, 4)


def test_masks_that_keep_all_that_is_left_go_and_others_follow() -> None:
    task = tiny.task()
    model = task.model
    first, second = mask_of(model[0]), mask_of(model[4])
    second.keep[:, :3] = False
    second.keep[5, 6] = False
    first.keep[:3] = False
    kept = second.keep[:, 3:].clone()
    wanted = coupled_nets.outputs(model, task.example)
    coupling = couple(model, task.example)
    model = remove_(model, coupling, dead_units(model, coupling), task.example)
    _same(wanted, coupled_nets.outputs(model, task.example), 1e-5)
    assert type(model[0]) is nn.Conv2d and "0.weight" in model.state_dict()
    assert torch.equal(mask_of(model[4]).keep, kept)
    assert model[4].in_channels == 5 and model[4].parametrizations.weight.original.shape[1] == 5


@pytest.mark.parametrize("steps", ["weights", "aware", "folded"])
def test_scales_follow_units_of_quantized_layers(steps: str) -> None:
    from flyweight.compress.quantize.aware import Aware
    from flyweight.compress.quantize.quantize import Quantize

    task = tiny.task()
    model = task.model
    mask_of(model[4]).keep[:, :3] = False
    mask_of(model[9]).keep[:, :8] = False
    step = {"weights": Quantize(activations=None), "aware": Quantize(aware=Aware()), "folded": Quantize()}[steps]
    model = step(model, task)
    coupling = couple(model, task.example)
    dead = dead_units(model, coupling)
    assert sorted(int(drop.sum()) for drop in dead.values()) == [2, 3]
    images = (tiny.images(16, 5).tensors[0],)
    wanted = coupled_nets.outputs(model, images)
    smaller = remove_(copy.deepcopy(model), coupling, dead, task.example)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    _same(wanted, coupled_nets.outputs(smaller, images), 1e-5)


@pytest.mark.parametrize("name", ["Windows", "Shuffle", "NeXt", "Shaped"])
def test_a_traced_graph_loses_what_its_model_does(name: str) -> None:
    model, example, plain = _net(name)
    graph = fx.symbolic_trace(copy.deepcopy(model))  # where ``self.heads`` stood, it holds a number
    coupling = couple(graph, example)
    assert [(g.kind, g.units) for g in coupling.groups] == [(g.kind, g.units) for g in plain.groups]
    dropped = coupled_nets.silence(graph, coupling, 0.5, 3)
    wanted = coupled_nets.outputs(graph, example)
    smaller = remove_(graph, coupling, dropped, example)
    _same(wanted, coupled_nets.outputs(smaller, example))
    coupled_nets.silence(model, plain, 0.5, 3)
    twin = remove_(model, plain, dropped, example)
    assert {n: t.shape for n, t in smaller.named_parameters()} == {n: t.shape for n, t in twin.named_parameters()}


class Transposed(nn.Module):
    """A layer as GPT-2 has it: its weight is (inputs, outputs), and its width an attribute."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.width = outputs
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.width)


class Causal(nn.Module):
    """Heads that nothing counts but the width of a third, which is that of the output too."""

    def __init__(self) -> None:
        super().__init__()
        self.third = 16
        self.qkv, self.out, self.norm = Transposed(16, 48), Transposed(16, 16), nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norm(x)).split(self.third, -1)
        q, k, v = (t.view(*t.shape[:-1], -1, 4).transpose(1, 2) for t in parts)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        return x + self.out(y.reshape(*x.shape[:-1], -1))


def test_numbers_are_set_alike_in_all_layers_of_a_kind() -> None:
    torch.manual_seed(0)
    model = coupled_nets.lively(nn.Sequential(nn.Linear(5, 16), *(Causal() for _ in range(3)), nn.Linear(16, 2)))
    model, example = model.double(), (torch.randn(2, 6, 5).double(),)
    coupling = couple(model, example)
    assert [(g.kind, g.units) for g in coupling.groups] == [("head", 4)] * 3
    dropped = coupled_nets.silence(model, coupling, 0.5, 3)
    wanted = coupled_nets.outputs(model, example)
    smaller = remove_(model, coupling, dropped, example)
    _same(wanted, coupled_nets.outputs(smaller, example))
    blocks = [m for m in smaller.modules() if isinstance(m, Causal)]
    left = [4 * int((~dropped[group.label]).sum()) for group in coupling.groups]
    assert [(b.third, b.qkv.width, b.out.width) for b in blocks] == [(width, 3 * width, 16) for width in left]


class Literal(nn.Module):
    """A size written as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).view(-1, 6))


def test_a_number_in_the_code_is_refused_by_name_and_the_model_is_as_it_was() -> None:
    model, example = Literal().eval(), (torch.randn(2, 4),)
    coupling = collect(follow(model, example))  # couple() tries, and offers no such group
    dropped = coupled_nets.silence(model, coupling, 0.5, 0)
    before = model_key(model)
    left = 6 - int(dropped["layer"].sum())
    with pytest.raises(
        UnsupportedError,
        match=rf"units of 'layer' cannot be removed from Literal.*view in 'its forward' holds the size 6, which had to "
        rf"become {left}\..*Take that size from the tensor's shape",
    ):
        remove_(model, coupling, dropped, example)
    assert model_key(model) == before


def test_a_unit_that_is_read_is_refused() -> None:
    task = tiny.task()
    coupling = couple(task.model, task.example)
    drop = torch.zeros(16, dtype=torch.bool)
    drop[2] = True
    with pytest.raises(UnsupportedError, match=r"units of '4' cannot be removed.*its outputs change by"):
        remove_(task.model, coupling, {"4": drop}, task.example)


def test_what_is_dropped_has_to_fit_the_groups() -> None:
    task = tiny.task()
    coupling = couple(task.model, task.example)
    with pytest.raises(UnknownNameError, match=r"no group of coupled units '5'"):
        remove_(task.model, coupling, {"5": torch.zeros(16, dtype=torch.bool)}, task.example)
    with pytest.raises(
        ShapeError, match=r"group '4' has 16 units, and what to drop of it is torch.bool of shape \(3,\)"
    ):
        remove_(task.model, coupling, {"4": torch.zeros(3, dtype=torch.bool)}, task.example)
    with pytest.raises(UnsupportedError, match=r"all 16 units of group '4' would go"):
        remove_(task.model, coupling, {"4": torch.ones(16, dtype=torch.bool)}, task.example)
    assert remove_(task.model, coupling, {}, task.example) is task.model


def _only(model: nn.Module, coupling: Coupling, label: str, count: int) -> dict[str, Tensor]:
    group = next(g for g in coupling.groups if g.label == label)
    drop = torch.arange(group.units) < count
    for at in group.slices:
        if at.role == "input":
            with torch.no_grad():
                model.get_parameter(at.name).index_fill_(at.dim, at.indices[drop].flatten(), 0)
    return {label: drop}
