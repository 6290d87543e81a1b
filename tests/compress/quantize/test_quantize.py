import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.quantize.ranges.kl import kl
from flyweight.compress.quantize.ranges.mse import mse
from flyweight.compress.quantize.ranges.percentile import percentile
from flyweight.core.errors import FlyweightError, ShapeError, UnknownNameError, UnsupportedError
from flyweight.core.serial import from_json, to_json
from flyweight.numerics.granularity import per_channel, per_group, per_tensor
from flyweight.surgery.activation import Requantize
from flyweight.surgery.chain import links, stored_form
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.rounded import Rounded

EVERY = [
    Quantize(),
    Quantize(bits=4, granularity=per_tensor()),
    Quantize(ranges=percentile(99.9)),
    Quantize(ranges=mse(20)),
    Quantize(ranges=kl(20)),
    Quantize(aware=Aware()),
    Quantize(activations=None),
    Quantize(activations=None, granularity=per_group(4), bits=5, exclude=("0",)),
    Quantize(activations=None, aware=Aware()),
    Quantize(activations=6, exclude=("9",)),
]


def agreement(one, two, task):
    x = task.data.select.tensors[0]
    with torch.no_grad():
        return (one.eval()(x).argmax(1) == two.eval()(x).argmax(1)).float().mean().item()


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_every_setting_keeps_the_answers_and_comes_back_from_its_state(step, tiny_task):
    model = tiny_task.model
    before = copy.deepcopy(model.state_dict())
    made = step(model, tiny_task)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items()), "the input is untouched"
    assert agreement(model, made, tiny_task) >= (0.9 if step.bits < 8 or step.activations == 6 else 0.97)
    assert not made.training
    again = step.replay(copy.deepcopy(model), tiny_task, made.state_dict())
    again.load_state_dict(made.state_dict())
    x = tiny_task.data.select.tensors[0]
    assert torch.equal(again.eval()(x), made.eval()(x))
    assert torch.equal(copy.deepcopy(made)(x), made(x))
    assert from_json(to_json(step)) == step


def test_training_mode_is_kept(tiny_task):
    for step in (Quantize(), Quantize(activations=None)):
        assert all(m.training for m in step(tiny_task.model.train(), tiny_task).modules())
        assert not any(m.training for m in step(tiny_task.model.eval(), tiny_task).modules())


def test_a_residual_network_is_integer_throughout(residual_task):
    made = Quantize()(residual_task.model, residual_task)
    layers = [m for m in made.modules() if isinstance(m, IntegerLayer)]
    assert len(layers) == 4
    assert all(layer.source is not None for layer in layers)
    assert not [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    assert agreement(residual_task.model, made, residual_task) >= 0.97


def test_aware_keeps_batchnorm_alive_inside_its_layer(residual_task):
    made = Quantize(aware=Aware(freeze=0.5))(residual_task.model, residual_task)
    norms = {n: m for n, m in made.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert set(norms) == {"stem.0.norm", "one.0.norm", "two.0.norm"}
    plain = Quantize()(residual_task.model, residual_task)
    x = residual_task.data.select.tensors[0]
    assert torch.allclose(made(x), plain(x), atol=1e-5), "in evaluation both are folded alike"


def fit(model, task, steps=24):
    """A training loop as ``learn.Fit`` runs it, from the outside."""
    x, y = task.data.train.tensors
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    phases = []
    for step in range(1, steps + 1):
        part = torch.randint(0, len(x), (64,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        F.cross_entropy(model(x[part]), y[part]).backward()
        optimizer.step()
        for module in model.modules():
            if hasattr(module, "after_step"):
                module.after_step(SimpleNamespace(step=step, total=steps, optimizer=optimizer))
        grids = [m for m in model.modules() if isinstance(m, Requantize)]
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        phases.append((grids[1].rounds, grids[1].high.item(), norms[0].running_var.clone() if norms else None))
    model.eval()
    return phases


def test_aware_training_delays_tracks_and_freezes(residual_task):
    made = Quantize(bits=4, aware=Aware(ema=0.9, delay=0.25, freeze=0.5))(residual_task.model, residual_task)
    x, y = residual_task.data.select.tensors
    before = F.cross_entropy(made(x), y).item()
    phases = fit(made, residual_task)
    assert [rounds for rounds, _, _ in phases] == [False] * 5 + [True] * 19
    highs = [high for _, high, _ in phases]
    assert len(set(highs[:12])) == 12
    assert len(set(highs[11:])) == 1
    assert not torch.equal(phases[9][2], phases[10][2])
    assert torch.equal(phases[12][2], phases[23][2])
    assert F.cross_entropy(made(x), y).item() < before + 0.05


def test_after_training_quantization_can_still_be_trained(tiny_task):
    made = Quantize(bits=3)(tiny_task.model, tiny_task)
    x, y = tiny_task.data.train.tensors
    before, codes = F.cross_entropy(made(x), y).item(), stored_form(made.get_submodule("4").layer).codes
    high = made.get_submodule("4_grid").high.item()
    fit(made, tiny_task)
    assert F.cross_entropy(made(x), y).item() < before
    assert not torch.equal(stored_form(made.get_submodule("4").layer).codes, codes)
    assert made.get_submodule("4_grid").high.item() == high


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(64, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x.flatten(1))
        return self.head(x if x.mean() > -1e9 else -x)


class Convolved(nn.Module):
    """A convolution, an attention that reads its last layer's weight without calling it, a branch on values."""

    def __init__(self):
        super().__init__()
        self.stem, self.attention = nn.Conv2d(1, 8, 3), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.stem(x)).flatten(2).transpose(1, 2).to(self.head.weight.dtype)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head((x if x.mean() > -1e9 else -x).mean(1))


def test_weights_alone_need_no_trace(tiny_task):
    model = Untraceable().eval()
    made = Quantize(activations=None)(model, tiny_task)
    assert agreement(model, made, tiny_task) > 0.9


@pytest.mark.parametrize("kind", [Untraceable, Convolved])
@pytest.mark.parametrize("step", [Quantize(), Quantize(aware=Aware(ema=0.5, delay=0.0, freeze=0.6))], ids=str)
def test_what_cannot_be_traced_rounds_at_each_layer(kind, step, tiny_task):
    torch.manual_seed(1)
    model = kind().eval()
    with pytest.warns(UserWarning, match=rf"{kind.__name__} cannot be traced at test_quantize.py.*each layer rounds"):
        made = step(model, tiny_task)
    found = {n: m for n, m in made.named_modules() if isinstance(m, Rounded)}
    assert set(found) == {"stem", "head"}, "the attention's last layer is never called"
    assert (found["stem"].target is not None) == isinstance(model.stem, nn.Conv2d)
    assert found["head"].target is None
    x, y = tiny_task.data.select.tensors
    for name, layer in found.items():
        heard = []
        hook = model.get_submodule(name).register_forward_hook(lambda m, i, o, heard=heard: heard.append(i[0]))
        model(tiny_task.data.calibrate.tensors[0])
        hook.remove()
        low, high = heard[0].min().item(), heard[0].max().item()
        # The layers before round too, so the range is that of the model itself but for their steps.
        assert layer.source.low.item() == pytest.approx(min(low, 0), abs=0.05 * (high - low))
        assert layer.source.high.item() == pytest.approx(max(high, 0), abs=0.05 * (high - low))
    assert agreement(model, made, tiny_task) > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what edit told is not told again
        again = step.replay(copy.deepcopy(model), tiny_task, made.state_dict())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.eval()(x), made(x))
    before = F.cross_entropy(made(x), y).item()
    fit(made, tiny_task)
    assert F.cross_entropy(made(x), y).item() < before


def test_a_linear_layer_by_itself_multiplies_codes(tiny_task):
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="cannot be traced"):
        made = Quantize()(Untraceable().eval(), tiny_task)
    layer, x = made.head, torch.randn(5, 8) * 3
    source = layer.source
    codes = ((x / source.scale).round() + source.zero_point).clamp(0, 255) - source.zero_point
    form = stored_form(layer.layer.layer)
    step = source.scale.double() * form.scale.double()
    whole = codes.double() @ form.codes.double().T + (layer.bias.double() / step).round()
    torch.testing.assert_close(layer(x).double(), whole * step, rtol=1e-6, atol=1e-7)
    assert torch.equal(layer.weight, layer.layer.layer.weight)


def test_nothing_that_is_called_is_nothing_to_quantize(tiny_task):
    model = Untraceable()
    model.forward = lambda x: F.linear(x.flatten(1) if x.mean() > -1e9 else x, model.stem.weight)
    with (
        pytest.raises(UnsupportedError, match="has nothing to quantize"),
        pytest.warns(UserWarning, match="cannot be traced"),
    ):
        Quantize()(model.eval(), tiny_task)


def test_the_codes_have_the_bits(tiny_task):
    for bits in (2, 3, 8):
        made = Quantize(bits=bits)(tiny_task.model, tiny_task)
        form = stored_form(made.get_submodule("4").layer)
        assert form.bits == bits
        assert form.codes.abs().max() == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("bits", [1, 9, 16, 8.0])
def test_other_bits_are_refused(bits):
    with pytest.raises(ShapeError, match="codes have 2 to 8 bits"):
        Quantize(bits=bits)
    with pytest.raises(ShapeError, match="codes have 2 to 8 bits"):
        Quantize(activations=bits)


def test_groups_need_float_activations():
    with pytest.raises(FlyweightError, match=r"one scale an output channel.*per_group\(size=32\).*activations=None"):
        Quantize(granularity=per_group(32))
    with pytest.raises(FlyweightError, match=r"one scale an output channel.*per_channel\(axis=1\)"):
        Quantize(granularity=per_channel(1))


def test_a_group_that_does_not_fit_names_the_layer(tiny_task):
    with pytest.raises(
        ShapeError, match=r"Quantize, at layer '0': .*its 9 inputs a channel are no multiple of group=4"
    ):
        Quantize(activations=None, granularity=per_group(4))(tiny_task.model, tiny_task)


def test_an_exclusion_that_matches_nothing_is_refused(tiny_task):
    with pytest.raises(UnknownNameError, match="no module of Sequential matches 'heads'"):
        Quantize(exclude=("heads",))(tiny_task.model, tiny_task)


def test_nothing_to_quantize_is_refused(tiny_task):
    with pytest.raises(UnsupportedError, match=r"Sequential has nothing to quantize outside exclude=\('\*',\)"):
        Quantize(exclude=("*",))(tiny_task.model, tiny_task)
    with pytest.raises(UnsupportedError, match="Flatten has nothing to quantize: no Conv1d, Conv2d or Linear"):
        Quantize(activations=None)(nn.Flatten(), tiny_task)


def test_quantizing_twice_is_refused(tiny_task):
    made = Quantize()(tiny_task.model, tiny_task)
    with pytest.raises(UnsupportedError, match=r"the weight of '0.layer' is quantized already. Take one Quantize"):
        Quantize()(made, tiny_task)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.norm(x if x.mean() > -1e9 else -x)


class PartlyUntraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.odd, self.head = nn.Linear(64, 8), nn.BatchNorm1d(8), Branching(), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.odd(self.norm(self.stem(x.flatten(1)))))


def test_the_way_out_of_a_part_that_cannot_be_traced_works(tiny_task):
    model = PartlyUntraceable().eval()
    with pytest.warns(UserWarning, match=r"exclude=\('odd',\) to leave that module in float"):
        assert agreement(model, Quantize()(model, tiny_task), tiny_task) > 0.9
    for step in (Quantize(exclude=("odd",)), Quantize(exclude=("odd",), aware=Aware())):
        made = step(model, tiny_task)
        assert [n for n, m in made.named_modules() if isinstance(m, IntegerLayer)] == ["stem", "head"]
        assert agreement(model, made, tiny_task) > 0.9
    alone = Quantize(exclude=("odd",), activations=None)(model, tiny_task)
    assert isinstance(alone.norm, nn.Identity), "what can be traced is folded here too"
    assert agreement(model, alone, tiny_task) > 0.9


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.norm, self.head = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 4)

    def forward(self, x):
        x = self.norm(input=self.one(input=x)).mean(dim=(2, 3))
        return self.head(input=F.dropout(input=x, p=0.1, training=self.training))


@pytest.mark.parametrize(
    "step",
    [Quantize(), Quantize(aware=Aware()), Quantize(activations=None), Quantize(activations=None, aware=Aware())],
    ids=str,
)
def test_layers_may_be_called_by_keyword(step, tiny_task):
    model = ByName()
    made = step(model.train(), tiny_task)
    assert made(tiny_task.example[0]).shape == (2, 4), "in training too"
    assert not [m for n, m in made.named_modules() if type(m) is nn.BatchNorm2d and n != "one.norm"]
    x = tiny_task.data.select.tensors[0]
    with torch.no_grad():
        wanted, got = model.eval()(x), made.eval()(x)
    assert (wanted - got).abs().mean() <= 0.03 * wanted.abs().mean()


def test_a_weight_that_another_parametrization_makes_is_named(tiny_task):
    model = tiny_task.model
    nn.utils.parametrizations.spectral_norm(model[4])
    with pytest.raises(UnsupportedError, match=r"can't take '4', whose weight has a parametrization of its own"):
        Quantize()(model, tiny_task)
    x = torch.randn(8, 1, 8, 8)
    torch.testing.assert_close(Quantize(exclude=("4",))(model, tiny_task)(x), model(x), atol=0.5, rtol=0.1)


class Words(nn.Module):
    """Two tables, one of which is the last layer's weight too."""

    def __init__(self):
        super().__init__()
        self.words, self.own, self.last = nn.Embedding(9, 6), nn.Embedding(9, 6), nn.Linear(6, 9, bias=False)
        self.last.weight = self.own.weight

    def forward(self, x):
        x = x.flatten(1)[:, :5].abs().long().clamp(0, 8)
        return self.last((self.words(x) + self.own(x)).mean(1))[:, :4]


@pytest.mark.parametrize(
    "step",
    [Quantize(), Quantize(bits=4), Quantize(activations=None), Quantize(activations=None, granularity=per_group(3))],
    ids=str,
)
def test_a_table_has_a_scale_a_row_and_a_shared_one_stays(step, tiny_task):
    torch.manual_seed(0)
    model = Words().eval()
    made = step(model, tiny_task)
    form = stored_form(made.get_submodule("words"))
    table, top = model.words.weight.detach(), 2 ** (step.bits - 1) - 1
    scale = table.abs().amax(1) / top
    torch.testing.assert_close(form.scale, scale)
    assert torch.equal(form.codes, (table / scale[:, None]).round().to(torch.int8))
    assert not links(made.get_submodule("own"))
    assert not links(Quantize(exclude=("words",))(model, tiny_task).get_submodule("words"))
