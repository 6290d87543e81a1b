"""The step: exact random masks, the contract, what comes before and after it, and what it refuses."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tiny
from flyweight.compress.prune.distributions.erdos_renyi import erdos_renyi
from flyweight.compress.prune.distributions.sensitivity import sensitivity
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.regrow.regrow import Regrow
from flyweight.compress.prune.regrow.rigl import rigl
from flyweight.compress.prune.regrow.set_ import set_
from flyweight.compress.prune.regrow.snfs import snfs
from flyweight.compress.prune.regrow.static import static
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import FlyweightError, ShapeError, UnknownNameError, UnsupportedError
from flyweight.core.recipe import run
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import sgd
from flyweight.learn.train import Train
from flyweight.surgery.mask import Mask, mask_of
from flyweight.testing.check_step import check_step


def masks(model):
    return {name: m for name, m in model.named_modules() if isinstance(m, Mask)}


def tied():
    """A layer that stands in two places."""
    model = nn.Sequential(*(nn.Flatten(), nn.Linear(64, 12)), *(nn.Linear(12, 12), nn.Tanh()) * 2, nn.Linear(12, 4))
    model[4] = nn.Linear(12, 12)
    model[4].weight = model[2].weight
    return model


@settings(max_examples=20, deadline=None)
@given(ratio=st.floats(0, 0.99), shared=st.sampled_from([uniform(), erdos_renyi()]), seed=st.integers(0, 9))
def test_as_much_is_zero_as_was_asked_for(ratio, shared, seed):
    task = tiny.fresh_task()
    model = Regrow(ratio, static(), shared, seed=seed)(task.model, task)
    found = masks(model)
    assert list(found) == ["4.parametrizations.weight.0", "9.parametrizations.weight.0"], "the first layer is spared"
    kept = sum(int(mask.keep.sum()) for mask in found.values())
    total = sum(mask.keep.numel() for mask in found.values())
    assert abs(kept - (1 - ratio) * total) <= 0.5 + 1e-6 or kept == len(found)
    for name in ("4", "9"):
        weight = model.get_submodule(name).parametrizations.weight
        assert not weight.original[~weight[0].keep].any()
        assert weight[0].keep.any()


def test_erdos_renyi_thins_the_larger_layer_and_the_seed_chooses(fresh_task):
    one, same, other = (Regrow(0.8, seed=seed)(fresh_task.model, fresh_task) for seed in (0, 0, 1))
    large, small = (mask.keep.float().mean().item() for mask in masks(one).values())
    assert large < 0.2 < small
    for name, mask in masks(one).items():
        assert mask.keep.equal(masks(same)[name].keep)
        assert not mask.keep.equal(masks(other)[name].keep)
        assert mask.keep.sum() == masks(other)[name].keep.sum()


def test_blocks_live_and_die_whole(fresh_task):
    model = Regrow(0.75, rigl(every=2), uniform(), block=(4, 1))(fresh_task.model, fresh_task)
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    trained = Train(epochs=2, optimizer=sgd(lr=0.05))(model, task)
    moved = False
    for name, mask in masks(trained).items():
        assert mask.block == (4, 1)
        tiles = mask.keep.reshape(mask.keep.shape[0] // 4, 4, -1)
        assert tiles.equal(tiles[:, :1].expand_as(tiles))
        assert mask.keep.sum() == masks(model)[name].keep.sum()
        moved |= not mask.keep.equal(masks(model)[name].keep)
    assert moved


@pytest.mark.parametrize(
    "step",
    [
        Regrow(0.8, rigl(every=2)),
        Regrow(0.5, snfs(every=3), uniform(), (2, 1), 3, ("9",)),
        Regrow(0.9, set_()),
        Regrow(0.9, static()),
    ],
    ids=lambda step: type(step.rule).__name__,
)
def test_the_contract(step, fresh_task):
    check_step(step, fresh_task, identity=dataclasses.replace(step, ratio=0.0))


def test_training_after_it_keeps_the_contract(fresh_task):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    check_step(Train(epochs=1, optimizer=sgd(lr=0.05)), task, after=(Regrow(0.8, rigl(every=2)),))


@pytest.mark.parametrize(
    ("step", "between"),
    [(Quantize(bits=8), ()), (Remove(), (Prune(0.5, structure=channel()),))],
    ids=["quantize", "remove"],
)
def test_what_comes_after_it_keeps_the_contract(step, between, fresh_task):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    sparse = (Regrow(0.8, rigl(every=2)), Train(epochs=1, optimizer=sgd(lr=0.05)))
    check_step(step, task, after=(*sparse, *between))


@pytest.mark.parametrize("rule", [rigl(every=2), snfs(every=2)])
def test_masks_move_and_survive_in_quantization_aware_training(rule, fresh_task):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    recipe = [Regrow(0.8, rule), Quantize(bits=8, aware=Aware()), Train(epochs=2, optimizer=sgd(lr=0.05))]
    before, after = run(recipe[:2], task.model, task), run(recipe, task.model, task)
    assert len(masks(after)) == 2
    for name, mask in masks(after).items():
        assert not mask.keep.equal(masks(before)[name].keep)
        owner = after.get_submodule(name.removesuffix(".parametrizations.weight.0"))
        assert not owner.weight[~mask.keep].any()
    kept = [sum(int(m.keep.sum()) for m in masks(model).values()) for model in (before, after)]
    assert kept[0] == kept[1]


def test_a_weight_in_two_places_has_one_mask_of_mind(fresh_task):
    task = dataclasses.replace(fresh_task, model=tied(), fit=Fit(precision="no"))
    recipe = [Regrow(0.8, rigl(every=2)), Train(epochs=1, optimizer=sgd(lr=0.05))]
    model = run(recipe, task.model, task)
    first, second = (model[place].parametrizations.weight for place in (2, 4))
    assert first.original is second.original
    assert first[0].keep.equal(second[0].keep)
    assert model[2].weight.equal(model[4].weight)
    start = run(recipe[:1], task.model, task)
    assert not start[2].parametrizations.weight[0].keep.equal(first[0].keep)
    assert start[2].parametrizations.weight[0].keep.sum() == first[0].keep.sum()


def test_what_is_masked_already_is_refused(fresh_task):
    mask = mask_of(fresh_task.model[4])
    mask.keep[0] = False
    with pytest.raises(UnsupportedError, match=r"the weight of '4' is masked already.*Remove\(\).*exclude=\('4',\)"):
        Regrow(0.5)(fresh_task.model, fresh_task)
    twice = [Regrow(0.0), Regrow(0.5)]
    with pytest.raises(UnsupportedError, match="masked already"):
        run(twice, tiny.tiny_cnn(), fresh_task)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Regrow(1.0), FlyweightError, r"ratio=1\.0 is no fraction"),
        (lambda: Regrow(0.5, rigl), FlyweightError, r"Regrow got rule=<class.*Give rigl\(every=100\)"),
        (lambda: Regrow(0.5, block=(0, 1)), ShapeError, r"block got rows=0"),
        (
            lambda: Regrow(0.5, block="4x1"),
            FlyweightError,
            r"block='4x1'. Give \(rows, columns\)",
        ),
        (lambda: Regrow(0.5, distribution=sensitivity()), FlyweightError, "yet to be trained nothing can be measured"),
        (lambda: Regrow(0.5, exclude=("conv",)), UnknownNameError, "matches 'conv'"),
        (lambda: Regrow(0.5, exclude=("4", "9")), UnsupportedError, "has no weight to prune outside exclude"),
    ],
)
def test_errors_say_the_way_out(make, kind, message, fresh_task):
    with pytest.raises(kind, match=message):
        make()(fresh_task.model, fresh_task)


def test_gradients_stay_with_the_training(fresh_task):
    model = Regrow(0.8, rigl(every=2))(fresh_task.model, fresh_task)
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    trained = Train(epochs=1, optimizer=sgd(lr=0.05)).edit(model, task)
    assert all(not mask.hears and mask.heard is None for mask in masks(trained).values())
    assert not torch.cat([mask.keep.flatten() for mask in masks(trained).values()]).all()
