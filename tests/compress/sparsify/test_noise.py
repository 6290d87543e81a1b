"""Variational dropout: the noise that layers draw, its price, and what is cut."""

import dataclasses

import pytest
import torch
from torch import nn

from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.sparsify.l0_gates import L0Gates
from flyweight.compress.sparsify.noise import LocalNoise, Noise
from flyweight.compress.sparsify.penalized import penalized
from flyweight.compress.sparsify.settle import Settle
from flyweight.compress.sparsify.variational_dropout import VariationalDropout
from flyweight.compress.sparsify.variational_kl import variational_kl
from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.recipe import run
from flyweight.core.task import Splits, Task
from flyweight.learn.context import Context
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.numerics.variational import divergence
from flyweight.surgery.chain import links
from flyweight.surgery.mask import Mask, mask_of
from flyweight.testing.check_step import check_step

FLOAT = Fit(precision="no")


def noises(model):
    return [m for m in model.modules() if isinstance(m, Noise)]


def spread(model, log_variance):
    for noise in noises(model):
        with torch.no_grad():
            noise.theta.fill_(log_variance / noise.speed)


def mean_squares(forward, batch):
    return 50 * nn.functional.mse_loss(forward(batch[0]), batch[1])  # −log p at a standard deviation of 0.1


def minus_error(forward, batches):
    with torch.no_grad():
        return -float(sum(nn.functional.mse_loss(forward(b[0]), b[1]) for b in batches))


@pytest.mark.parametrize("layer", [nn.Linear(6, 5), nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=2)])
def test_outputs_have_the_mean_and_the_variance_of_noisy_weights(tiny_task, layer):
    x = torch.randn(1, 6) if isinstance(layer, nn.Linear) else torch.randn(1, 4, 5, 5)
    model = VariationalDropout()(nn.Sequential(layer), tiny_task)
    noise = noises(model)[0]
    with torch.no_grad():
        noise.theta.copy_(torch.randn_like(noise.theta) - 2)
    sigma = noise.log_variance(layer.weight).exp().sqrt()
    many = x.expand(40_000, *x.shape[1:])
    with torch.no_grad():
        drawn = model.train()(many)
        sampled = []
        for _ in range(4000):  # weights drawn, as the reparametrisation says that it need not
            weight = layer.weight + sigma * torch.randn_like(sigma)
            sampled.append(torch.func.functional_call(layer, {"weight": weight}, (x,)))
        sampled = torch.cat(sampled)
    mean = layer(x)[0]
    scale = float(sampled.std(0).max())
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.05 * scale, rtol=0)
    torch.testing.assert_close(drawn.std(0), sampled.std(0), atol=0.05 * scale, rtol=0.06)
    # Each example has its own draw.
    assert drawn.std(0).min() > 0


def test_evaluation_has_no_noise_and_is_what_it_was(tiny_task):
    wanted = tiny_task.model(*tiny_task.example)
    model = VariationalDropout()(tiny_task.model, tiny_task)
    spread(model, 0.0)
    assert torch.equal(model.eval()(*tiny_task.example), wanted)
    model.train()
    assert not torch.equal(model(*tiny_task.example), model(*tiny_task.example))


def test_masked_weights_make_no_noise(tiny_task):
    model = nn.Sequential(nn.Linear(3, 2))
    mask_of(model[0]).keep[0] = False
    noisy = VariationalDropout()(model, tiny_task).train()
    spread(noisy, 0.0)
    x = torch.ones(1000, 3)
    told = noisy(x).std(0)
    assert told[0] < 1e-3 and told[1] > 1


def test_the_price_and_its_warm_up(tiny_task):
    model = VariationalDropout(speed=3.0)(tiny_task.model, tiny_task)
    torch.manual_seed(0)
    for noise in noises(model):
        with torch.no_grad():
            noise.theta.copy_((3 * torch.randn_like(noise.theta) - 5) / 3)
    wanted = 0.0
    for layer in (model[0], model[4], model[9]):
        noise, weight = links(layer)[0], layer.parametrizations.weight.original
        alpha = (noise.theta * 3).reshape(weight.shape).exp() / (weight**2 + 1e-8)
        wanted += float(divergence(alpha.log().clamp(-8, 8)).sum())
    wanted /= len(tiny_task.data.train)
    for fraction, rise in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.9, 1.0)):
        context = Context(tiny_task, torch.arange(4), model=model, fraction=fraction)
        assert float(variational_kl(2.0)(model, context)) == pytest.approx(2 * rise * wanted, rel=1e-4)
    assert float(
        variational_kl(1.0, warmup=0)(model, Context(tiny_task, torch.arange(4), model=model))
    ) == pytest.approx(wanted, rel=1e-4)


def test_settling_cuts_what_is_noise_and_keeps_the_rest_as_it_is(tiny_task):
    model = VariationalDropout(cut=2.0)(tiny_task.model, tiny_task)
    spread(model, -4.0)
    settled = Settle()(model, tiny_task)
    for before, after in ((model[i], settled[i]) for i in (0, 4, 9)):
        weight = before.parametrizations.weight.original
        keep = -4.0 - (weight**2 + 1e-8).log() <= 2.0
        assert torch.equal(mask_of(after).keep, keep) and 0 < int(keep.sum()) < keep.numel()
        assert torch.equal(after.weight, weight * keep)
        assert not after._forward_hooks and before._forward_hooks
    assert not noises(settled)


def test_openness_is_the_part_that_is_no_noise(tiny_task):
    model = VariationalDropout()(tiny_task.model, tiny_task)
    spread(model, -6.0)
    weight = model[4].parametrizations.weight.original
    wanted = weight**2 / (weight**2 + torch.tensor(-6.0).exp())
    torch.testing.assert_close(links(model[4])[0].openness(weight), wanted.detach(), atol=1e-3, rtol=1e-3)


def test_training_raises_the_noise_of_irrelevant_features():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, 12, generator=generator)
    y = x[:, :4] @ torch.tensor([[1.0], [-2.0], [1.5], [0.8]]) + 0.1 * torch.randn(512, 1, generator=generator)
    data = torch.utils.data.TensorDataset(x, y)
    splits = Splits(train=data, calibrate=data, select=data, report=data)
    torch.manual_seed(0)
    task = Task(
        name="irrelevant", model=nn.Sequential(nn.Linear(12, 1)), example=(x[:2],), data=splits, loss=mean_squares,
        quality=minus_error, fit=FLOAT,
    )  # fmt: skip
    train = Train(100, adam(1e-2), penalized(variational_kl(4.0, warmup=0.1)))
    recipe = (Train(40, adam(5e-2)), VariationalDropout(speed=10.0), train, Settle())
    model = run(recipe, task.model, task)
    assert mask_of(model[0]).keep[0].tolist() == [True] * 4 + [False] * 8
    assert minus_error(model, [data.tensors]) > -0.02


def test_the_contract(tiny_task):
    task = dataclasses.replace(tiny_task, fit=FLOAT)
    noise = VariationalDropout(speed=30.0)
    check_step(noise, task, identity=noise)
    train = Train(1, adam(5e-3), penalized(variational_kl()))
    check_step(Settle(), task, after=(noise, train))
    check_step(Quantize(), task, after=(noise, train, Settle()))


def test_a_copy_has_noise_of_its_own(tiny_task):
    model = VariationalDropout()(tiny_task.model, tiny_task)
    twin = Train(0)(model, tiny_task)
    hooks = [hook for m in twin.modules() for hook in m._forward_hooks.values() if isinstance(hook, LocalNoise)]
    assert len(hooks) == 3 and all(h.noise in noises(twin) and h.noise not in noises(model) for h in hooks)


def test_what_it_refuses(tiny_task):
    with pytest.raises(FlyweightError, match=r"VariationalDropout got log_variance=1. Give a number from -20 to 0"):
        VariationalDropout(log_variance=1)
    with pytest.raises(FlyweightError, match=r"VariationalDropout got cut=8. Give a number between 0 and 8"):
        VariationalDropout(cut=8)
    with pytest.raises(FlyweightError, match=r"VariationalDropout got speed=-1"):
        VariationalDropout(speed=-1)
    with pytest.raises(FlyweightError, match=r"variational_kl got warmup=2. Give a fraction of training, 0 to 1"):
        variational_kl(warmup=2)
    gated = L0Gates()(tiny_task.model, tiny_task)
    with pytest.raises(
        UnsupportedError, match=r"VariationalDropout can't act on '0', which has gates or noise already"
    ):
        VariationalDropout()(gated, tiny_task)
    context = Context(tiny_task, torch.arange(4), model=tiny_task.model)
    with pytest.raises(
        UnsupportedError, match=r"variational_kl prices weights by their noise, and Sequential has none"
    ):
        variational_kl()(tiny_task.model, context)
    noisy = VariationalDropout()(tiny_task.model, tiny_task)
    spread(noisy, 8.0)
    with pytest.raises(UnsupportedError, match=r"Settle would leave nothing of '0', all of whose weights are noise"):
        Settle()(noisy, tiny_task)
    with pytest.raises(
        UnsupportedError, match=r"noise is still learnt cannot lose units. Put Settle\(\) before Remove"
    ):
        noises(noisy)[0].narrow({0: torch.arange(1)})
    assert not [m for m in tiny_task.model.modules() if isinstance(m, Mask)]


def test_half_precision_has_noise_and_gradients_that_are_numbers(tiny_task):
    model = VariationalDropout()(tiny_task.model, tiny_task).train()
    for x in (torch.zeros(8, 1, 8, 8), 400 * torch.ones(8, 1, 8, 8)):
        with torch.autocast("cpu", dtype=torch.float16):
            out = model(x)
        out.float().square().mean().backward()
        assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())
