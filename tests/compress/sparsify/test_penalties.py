"""Penalties on parameters against naive loops, and how they nest with other objectives."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

import tiny
from flyweight.compress.sparsify.group_lasso import group_lasso
from flyweight.compress.sparsify.grouping import elements, inputs, outputs, tiles
from flyweight.compress.sparsify.l1 import l1
from flyweight.compress.sparsify.penalized import penalized
from flyweight.compress.sparsify.slimming import slimming
from flyweight.core.errors import FlyweightError, UnknownNameError, UnsupportedError
from flyweight.core.recipe import run
from flyweight.core.serial import from_json, to_json
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.context import Context
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import sgd
from flyweight.learn.train import Train
from flyweight.surgery.mask import mask_of


def context_of(task, model, **more):
    return Context(task, torch.arange(8), model=model, **more)


def batch_of(task):
    return tuple(t[:8] for t in task.data.train.tensors)


def net():
    return nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def masked_net():
    model = net()
    for layer in (model[0], model[4]):
        mask_of(layer).keep.copy_(torch.rand_like(layer.weight) < 0.6)
    return model


@pytest.mark.parametrize("make", [net, masked_net])
def test_l1_is_the_sum_of_what_masks_leave(tiny_task, make):
    model = make()
    wanted = sum(abs(v) for layer in (model[0], model[4]) for v in layer.weight.flatten().tolist())
    assert float(l1(0.1)(model, context_of(tiny_task, model))) == pytest.approx(0.1 * wanted, rel=1e-5)


@pytest.mark.parametrize("make", [net, masked_net])
@pytest.mark.parametrize("over", [outputs(), inputs(), tiles(2, 3), tiles(3, 5), elements()])
def test_group_lasso_is_the_naive_sum(tiny_task, make, over):
    model = make()
    wanted = 0.0
    for layer, branches in ((model[0], 2), (model[4], 1)):
        weight = layer.weight.detach()
        rows = over.rows(weight, branches)
        sizes = over.rows(torch.ones_like(weight), branches)
        for row, ones in zip(rows.tolist(), sizes.tolist(), strict=True):
            wanted += sum(ones) ** 0.5 * sum(v * v for v in row) ** 0.5
    got = group_lasso(0.1, over)(model, context_of(tiny_task, model))
    assert float(got) == pytest.approx(0.1 * wanted, rel=1e-5)


def test_group_lasso_of_a_linear_layer_by_hand(tiny_task):
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]))
    context = context_of(tiny_task, model)
    assert float(group_lasso(1.0, outputs())(model, context)) == pytest.approx(3**0.5 * (5 + 2))
    assert float(group_lasso(1.0, inputs())(model, context)) == pytest.approx(2**0.5 * (3 + 4 + 2))
    # The tile at the right edge is cut short to 2×1.
    assert float(group_lasso(1.0, tiles(2, 2))(model, context)) == pytest.approx(4**0.5 * 5 + 2**0.5 * 2)


@pytest.mark.parametrize("over", [outputs(), inputs(), tiles(2, 3)])
def test_gradients_are_those_of_finite_differences_and_0_at_zero(tiny_task, over):
    model = net().double()
    context = context_of(tiny_task, model)
    with torch.no_grad():
        model[4].weight.zero_()
    model.zero_grad()
    group_lasso(0.3, over)(model, context).backward()
    assert (model[4].weight.grad == 0).all()
    weight = model[0].weight
    for place in ((0, 0, 1, 2), (3, 0, 0, 0)):
        values = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                weight[place] += step
            values.append(float(group_lasso(0.3, over)(model, context)))
        with torch.no_grad():
            weight[place] += 1e-6
        assert float(weight.grad[place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_slimming_adds_exactly_the_strength_times_the_sign(tiny_task):
    model, strength = tiny_task.model, 1e-4
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        norms[0].weight[0], norms[0].weight[1], norms[1].weight[2] = 0.0, -0.7, -1e-9
    slimming(strength)(model, context_of(tiny_task, model)).backward()
    for norm in norms:
        assert torch.equal(norm.weight.grad, torch.tensor(strength) * norm.weight.detach().sign())
    assert all(
        p.grad is None for m in model.modules() if not isinstance(m, nn.BatchNorm2d) for p in m.parameters(False)
    )


def test_slimming_spares_what_is_excluded_and_l1_and_lasso_too(tiny_task):
    model, context = tiny_task.model, context_of(tiny_task, tiny_task.model)
    assert float(slimming(1.0, ("1",))(model, context)) == pytest.approx(float(model[5].weight.abs().sum()))
    assert float(l1(1.0, ("0", "4"))(model, context)) == pytest.approx(float(model[9].weight.abs().sum()))
    assert float(group_lasso(1.0, outputs(), ("0", "4"))(model, context)) == pytest.approx(
        float(256**0.5 / 2 * model[9].weight.norm(dim=1).sum())
    )


@pytest.mark.parametrize("penalty", [l1(0.0), group_lasso(0.0), slimming(0.0)])
def test_no_strength_is_the_task_s_loss(tiny_task, penalty):
    batch, model = batch_of(tiny_task), tiny_task.model
    assert torch.equal(penalized(penalty)(model, batch, context_of(tiny_task, model)), tiny_task.loss(model, batch))


def test_it_nests_either_way_with_distilled_and_mixed_in_one_pass(tiny_task):
    task = dataclasses.replace(tiny_task, teacher=copy.deepcopy(tiny_task.model))
    model, batch, price = tiny_task.model, batch_of(task), slimming(0.01)
    context = context_of(task, model, augmented=True)
    calls = []

    def forward(x):
        calls.append(x)
        return model(x)

    cost = price(model, context)
    for whole, plain in (
        (penalized(price, distilled()), distilled()),
        (penalized(price, mixed(0.4, distilled())), mixed(0.4, distilled())),
        (mixed(0.4, penalized(price, distilled())), mixed(0.4, distilled())),
        (penalized(price, penalized(l1(0.0))), None),
    ):
        calls.clear()
        torch.manual_seed(3)
        got = whole(forward, batch, context)
        assert len(calls) == 1
        torch.manual_seed(3)
        wanted = task.loss(model, batch) if plain is None else plain(model, batch, context)
        assert float(got) == pytest.approx(float(wanted + cost), rel=1e-5)


def test_training_hears_it_and_the_recipe_s_teachers_are_found(fresh_task):
    teacher = (Train(1),)
    step = Train(1, sgd(0.05), penalized(slimming(0.05), distilled(teachers=(teacher,))))
    assert step.teachers() == (teacher,)
    assert from_json(to_json(step)) == step
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    weak, strong = (run((Train(3, sgd(0.05), penalized(slimming(s))),), task.model, task) for s in (0.0, 0.2))
    size = [
        float(sum(m.weight.abs().sum() for m in net.modules() if isinstance(m, nn.BatchNorm2d)))
        for net in (weak, strong)
    ]
    assert size[1] < 0.9 * size[0]


def test_the_fraction_runs_from_0_to_below_1(fresh_task):
    step = Train(2, loss=_notes)
    _SEEN.clear()
    step(fresh_task.model, fresh_task)
    assert [i / 8 for i in range(8)] == _SEEN


_SEEN: list[float] = []


def _notes(forward, batch, context):
    assert context.model is not None
    _SEEN.append(context.fraction)
    return context.task.loss(forward, batch)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: penalized(None), r"penalized got penalty=None. Give a penalty such as slimming"),
        (lambda: penalized(slimming), r"penalized got penalty=<class.*Give a penalty"),
        (lambda: penalized(l1(), distilled), r"penalized got loss=<class.*Give an objective such as distilled\(\)"),
        (lambda: l1(-1.0), r"l1 got strength=-1.0. Give 0 or more"),
        (lambda: group_lasso(float("nan")), r"group_lasso got strength=nan. Give 0 or more"),
        (lambda: slimming(float("inf")), r"slimming got strength=inf"),
    ],
)
def test_what_it_refuses(make, text):
    with pytest.raises(FlyweightError, match=text):
        make()


def test_what_it_refuses_of_models(tiny_task):
    bare = nn.Sequential(nn.Flatten())
    with pytest.raises(UnsupportedError, match=r"l1 has nothing to act on in Sequential: it has no linear"):
        l1()(bare, context_of(tiny_task, bare))
    with pytest.raises(
        UnsupportedError, match=r"slimming has nothing to act on in Sequential: no batch-norm with a scale"
    ):
        slimming()(bare, context_of(tiny_task, bare))
    with pytest.raises(UnsupportedError, match=r"outside exclude=\('\*',\)"):
        group_lasso(exclude=("*",))(tiny_task.model, context_of(tiny_task, tiny_task.model))
    with pytest.raises(UnknownNameError, match=r"no module of Sequential matches 'stem'"):
        l1(exclude=("stem",))(tiny_task.model, context_of(tiny_task, tiny_task.model))
    with pytest.raises(FlyweightError, match=r"penalized needs the model whose parameters it prices"):
        penalized(l1())(tiny_task.model, batch_of(tiny_task), Context(tiny_task, torch.arange(8)))


def test_what_masks_took_away_feels_no_price(tiny_task):
    model = tiny.tiny_cnn()
    mask_of(model[0]).keep[:4] = False
    l1(1.0)(model, context_of(tiny_task, model)).backward()
    gradient = model[0].parametrizations.weight.original.grad
    assert (gradient[:4] == 0).all() and (gradient[4:].abs() == 1).all()
