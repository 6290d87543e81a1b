import copy
import dataclasses
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from flyweight.compress.prune.evidence import NEEDS
from flyweight.compress.prune.gather.gather import gather
from flyweight.compress.prune.scores.activation import activation
from flyweight.compress.prune.scores.gate_open import gate_open
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.sparsify.grouping import elements
from flyweight.compress.sparsify.l0_gates import L0Gates
from flyweight.core.errors import FlyweightError, TrainingError, UnknownNameError, UnsupportedError
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.mask import mask_of

PASSED = ("gradient", "curvature", "inputs", "gram")


def layers(model):
    kinds = nn.Conv2d | nn.Linear
    return [(m, "weight", f"{n}.weight") for n, m in model.named_modules() if isinstance(m, kinds)]


def test_taylor_against_the_loss_when_a_weight_is_zero(tiny_task):
    model, (x, y) = tiny_task.model, tiny_task.data.calibrate.tensors
    told = gather(model, layers(model), ("gradient",), tiny_task)
    score = taylor()(told["9.weight"])
    loss = tiny_task.loss(model, (x, y)).item()
    for index in [(0, 3), (1, 17), (3, 60)]:
        # Along the way to zero: the slope there, times the way.
        near, small = copy.deepcopy(model), 1e-2
        near[9].weight.data[index] *= 1 - small
        change = (tiny_task.loss(near, (x, y)).item() - loss) / small
        assert float(score[index]) == pytest.approx(abs(change), rel=0.05, abs=2e-4)


def test_the_gradient_is_the_mean_over_examples_whatever_the_batches(tiny_task):
    model, (x, y) = tiny_task.model, tiny_task.data.train.tensors
    data = dataclasses.replace(tiny_task.data, calibrate=TensorDataset(x[:100], y[:100]))  # batches of 64 and 36
    told = gather(model, layers(model), ("gradient",), dataclasses.replace(tiny_task, data=data))
    wanted = torch.autograd.grad(tiny_task.loss(model, (x[:100], y[:100])), [m.weight for m, _, _ in layers(model)])
    for (_, _, name), gradient in zip(layers(model), wanted, strict=True):
        torch.testing.assert_close(told[name].gradient, gradient, rtol=1e-4, atol=1e-6)
        assert told[name].curvature is None and told[name].inputs is None and told[name].gram is None


def test_a_masked_weight_has_the_gradient_of_its_zeros(tiny_task):
    plain, masked = tiny_task.model, copy.deepcopy(tiny_task.model)
    mask = mask_of(masked[4])
    mask.keep[:, ::2] = False
    with torch.no_grad():
        plain[4].weight[:, ::2] = 0
    one = gather(plain, layers(plain), PASSED, tiny_task)
    two = gather(masked, layers(masked), PASSED, tiny_task)
    assert torch.equal(two["4.weight"].weight, plain[4].weight)
    assert float(two["4.weight"].gradient[:, ::2].abs().max()) > 0
    for name in one:
        for need in PASSED:
            torch.testing.assert_close(getattr(one[name], need), getattr(two[name], need))


@pytest.mark.parametrize("chained", [False, True])
def test_the_model_is_left_as_it_was(tiny_task, chained):
    model = tiny_task.model.train()
    if chained:
        mask_of(model[0]).hears = True
    model[5].eval()
    model[4].weight.requires_grad_(False)
    model[9].bias.grad = torch.ones(4)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    asked = [p.requires_grad for p in model.parameters()]
    generators = torch.get_rng_state(), random.getstate()
    told = gather(model, layers(model), NEEDS, tiny_task)
    assert float(told["4.weight"].gradient.abs().max()) > 0
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert modes == [m.training for m in model.modules()]
    assert asked == [p.requires_grad for p in model.parameters()]
    assert torch.equal(model[9].bias.grad, torch.ones(4)) and model[9].weight.grad is None
    assert torch.equal(generators[0], torch.get_rng_state()) and generators[1] == random.getstate()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    if chained:
        assert mask_of(model[0]).hears and mask_of(model[0]).take_heard() is None
    copy.deepcopy(model)


class Counts(nn.Module):
    """A layer that keeps count in evaluation too, and draws."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.layer = nn.Linear(64, 4)

    def forward(self, x):
        self.passes += 1
        return self.layer(x.flatten(1) + torch.randn(64))


def test_buffers_of_any_kind_come_back_and_chance_is_the_same(tiny_task):
    model = Counts()
    one = gather(model, layers(model), ("gradient",), tiny_task)
    assert float(model.passes) == 0
    torch.randn(3)
    two = gather(model, layers(model), ("gradient",), tiny_task)
    assert torch.equal(one["layer.weight"].gradient, two["layer.weight"].gradient)


def test_twice_is_the_same(residual_task):
    one, two = (gather(residual_task.model, layers(residual_task.model), PASSED, residual_task) for _ in range(2))
    assert all(torch.equal(getattr(one[n], need), getattr(two[n], need)) for n in one for need in PASSED)


def test_inputs_and_gram_by_loops(residual_task):
    """Wanda's and OBS's evidence of a convolution, a depthwise one and a linear layer, place by place."""
    model, (x, y) = residual_task.model, residual_task.data.calibrate.tensors
    data = dataclasses.replace(residual_task.data, calibrate=TensorDataset(x[:3], y[:3]))
    told = gather(model, layers(model), ("inputs", "gram"), dataclasses.replace(residual_task, data=data))
    given = {}
    for module, _, name in layers(model):
        module.register_forward_pre_hook(lambda m, args, name=name: given.update({name: args[0]}))
    with torch.no_grad():
        model(x[:3])
    head = given["head.weight"]
    torch.testing.assert_close(told["head.weight"].inputs, head.norm(dim=0))
    torch.testing.assert_close(told["head.weight"].gram, head.T @ head / 3)
    padded = F.pad(given["one.0.weight"], (1, 1, 1, 1))
    rows = [padded[n, :, i : i + 3, j : j + 3].flatten() for n in range(3) for i in range(8) for j in range(8)]
    matrix = torch.stack(rows)
    torch.testing.assert_close(told["one.0.weight"].inputs, matrix.norm(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told["one.0.weight"].gram, matrix.T @ matrix / len(matrix), rtol=1e-4, atol=1e-5)
    padded = F.pad(given["two.0.weight"], (1, 1, 1, 1))
    for channel in range(8):
        rows = [padded[n, channel, i : i + 3, j : j + 3] for n in range(3) for i in (0, 2, 4, 6) for j in (0, 2, 4, 6)]
        matrix = torch.stack(rows).flatten(1)
        torch.testing.assert_close(told["two.0.weight"].inputs[channel], matrix.norm(dim=0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(told["two.0.weight"].gram[channel], matrix.T @ matrix / 48, rtol=1e-4, atol=1e-5)
    assert activation()(told["two.0.weight"]).shape == (8, 1, 3, 3)


def test_layers_inside_integer_layers(tiny_task):
    whole = gather(tiny_task.model, layers(tiny_task.model), PASSED, tiny_task)
    model = Quantize()(tiny_task.model, tiny_task)
    inside = [(m.layer, "weight", f"{n}.weight") for n, m in model.named_modules() if isinstance(m, IntegerLayer)]
    told = gather(model, inside, PASSED, tiny_task)
    assert len(told) == 3
    for one, two in zip(whole.values(), told.values(), strict=True):
        torch.testing.assert_close(two.inputs, one.inputs, rtol=0.1, atol=0.1 * float(one.inputs.max()))
        assert two.gradient.shape == one.gradient.shape and float(two.curvature.min()) >= 0
    head, same = list(whole.values())[-1], list(told.values())[-1]  # nothing is folded into the classifier
    assert torch.equal(same.weight, head.weight)
    torch.testing.assert_close(same.gradient, head.gradient, rtol=0.2, atol=0.1 * float(head.gradient.abs().max()))


def test_gates_tell_how_open_they_are(tiny_task):
    told = gather(tiny_task.model, layers(tiny_task.model), ("openness",), tiny_task)
    assert all(one.openness is None for one in told.values())
    model = L0Gates(over=elements(), droprate=0.3)(tiny_task.model, tiny_task).train()
    state = torch.get_rng_state()
    told = gather(model, layers(model), ("openness", "gradient"), tiny_task)
    assert torch.equal(state, torch.get_rng_state())
    for module, _, name in layers(model):
        gate, weight = module.parametrizations.weight[0], module.parametrizations.weight.original
        assert torch.equal(told[name].openness, gate.openness(weight))
        assert torch.equal(told[name].weight, gate.settled(weight)[0])
        assert gate_open()(told[name]).shape == weight.shape


class Listed(Dataset):
    """Examples one by one, that count how often they were asked for."""

    def __init__(self, tensors):
        self.tensors_, self.asked = tensors, []

    def __len__(self):
        return len(self.tensors_[0])

    def __getitem__(self, index):
        self.asked.append(index)
        return tuple(t[index] for t in self.tensors_)


def test_samples_are_spread_over_the_set(tiny_task):
    listed = Listed(tiny_task.data.train.tensors)
    data = dataclasses.replace(tiny_task.data, calibrate=listed)
    own = layers(tiny_task.model)
    told = gather(tiny_task.model, own, ("gradient",), dataclasses.replace(tiny_task, data=data), samples=8)
    assert listed.asked == list(range(0, 512, 64))
    data = dataclasses.replace(tiny_task.data, calibrate=tiny_task.data.train)
    same = gather(tiny_task.model, own, ("gradient",), dataclasses.replace(tiny_task, data=data), samples=8)
    assert torch.equal(told["0.weight"].gradient, same["0.weight"].gradient)


def test_nothing_passes_where_nothing_is_asked(tiny_task):
    listed = Listed(tiny_task.data.train.tensors)
    task = dataclasses.replace(tiny_task, data=dataclasses.replace(tiny_task.data, calibrate=listed))
    told = gather(tiny_task.model, layers(tiny_task.model), ("movement", "momentum"), task)
    assert not listed.asked and told["0.weight"].movement is None
    assert torch.equal(told["0.weight"].weight, tiny_task.model[0].weight)
    assert gather(tiny_task.model, [], PASSED, task) == {}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.attend = nn.LSTM(8, 6, batch_first=True), nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.head, self.spare = nn.Linear(6, 4), nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.attend(self.rnn(x.flatten(1, 2))[0])[:, -1])


def test_recurrent_and_attention_layers(tiny_task):
    model, few = Recurrent(), dataclasses.replace(tiny_task.data)
    task = dataclasses.replace(tiny_task, model=model, data=few)
    own = [
        *((model.rnn, "weight_hh_l0", "rnn.hh"), (model.attend.self_attn, "in_proj_weight", "in")),
        *((model.attend.linear1, "weight", "linear1"), (model.head, "bias", "bias")),
    ]
    told = gather(model, own, ("gradient", "curvature"), task, samples=8)
    assert all(float(one.gradient.abs().max()) > 0 and float(one.curvature.max()) > 0 for one in told.values())
    told = gather(model, own[2:3], ("inputs",), task, samples=8)
    assert told["linear1"].inputs.shape == (6,)
    with pytest.raises(
        UnsupportedError, match=r"'rnn.hh', of LSTM, multiplies no matrix of inputs; weights of Linear, "
    ):
        gather(model, own, ("inputs",), task)
    with pytest.raises(
        UnsupportedError, match=r"the layer of 'out' was never called on the calibration set, so nothing"
    ):
        gather(model, [(model.attend.self_attn.out_proj, "weight", "out")], ("gram",), task, samples=8)
    spare = gather(model, [(model.spare, "weight", "spare")], ("gradient",), task, samples=8)
    assert not spare["spare"].gradient.any()


def test_errors(tiny_task):
    own = layers(tiny_task.model)
    with pytest.raises(UnknownNameError, match=r"there is no need of a score 'gradients'. Did you mean 'gradient'\?"):
        gather(tiny_task.model, own, ("gradients",), tiny_task)
    with pytest.raises(FlyweightError, match=r"gather got samples=0. Give 1 or more, as in samples=512."):
        gather(tiny_task.model, own, ("gradient",), tiny_task, samples=0)
    broken = dataclasses.replace(tiny_task, loss=lambda f, b: f(b[0]).mean() * float("nan"))
    with pytest.raises(
        TrainingError, match=r"the loss is nan on the calibration set, so no gradient can be read. Is the"
    ):
        gather(tiny_task.model, own, ("gradient",), broken)
    apart = dataclasses.replace(tiny_task, loss=lambda f, b: f(b[0]).detach().mean())
    with pytest.raises(UnsupportedError, match=r"the task's loss carries no gradient to the model. It has to call"):
        gather(tiny_task.model, own, ("gradient",), apart)
    x, y = tiny_task.data.calibrate.tensors
    endless = TensorDataset(x * float("inf"), y)
    task = dataclasses.replace(tiny_task, data=dataclasses.replace(tiny_task.data, calibrate=endless))
    with pytest.raises(TrainingError, match=r"the inputs of the layer of '0.weight' hold NaN or infinity on the calib"):
        gather(tiny_task.model, own, ("inputs",), task)


def test_a_shared_weight_has_the_gradient_of_all_its_places(tiny_task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[5].weight = model[3].weight
    place = (model[3], "weight", "3.weight")
    plain = gather(model, [place], ("gradient",), tiny_task)["3.weight"].gradient
    mask_of(model[3]), mask_of(model[5])
    torch.testing.assert_close(gather(model, [place], ("gradient",), tiny_task)["3.weight"].gradient, plain)
