import copy
import dataclasses

import pytest
import torch

import flyweight as fw
from flyweight.compress.prune.distributions.erdos_renyi import erdos_renyi
from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.distributions.sensitivity import sensitivity
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.constant import constant
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.compress.prune.schedules.one_shot import one_shot
from flyweight.compress.prune.scores.movement import movement
from flyweight.compress.prune.scores.obd import obd
from flyweight.compress.prune.scores.obs import obs
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.n_m import n_m
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import UnsupportedError
from flyweight.core.recipe import replay, run
from flyweight.core.serial import from_json, to_json
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.surgery.chain import GATE, Link, attach, links, stored_form
from flyweight.surgery.fake_quantize import FakeQuantize
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.mask import Mask, mask_of
from flyweight.surgery.stored import Codes
from flyweight.testing.check_step import check_step
from nets import masks

TRAIN = Train(epochs=1, optimizer=adam(lr=1e-2))

STEPS = [
    Prune(0.5),
    Prune(0.7, structure=block(4, 4), distribution=global_()),
    Prune(0.6, score=obd(), distribution=erdos_renyi()),
    Prune(0.5, score=obs(), structure=n_m(2, 4)),
    Prune(0.7, score=obs(), structure=block(4, 3, taps=True)),
    Prune(0.6, score=taylor(), structure=channel(4), distribution=sensitivity(), schedule=iterative(2, TRAIN)),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.score}, {step.structure}"[:60])
def test_the_contract_at_once(step, tiny_task):
    nothing = dataclasses.replace(step, ratio=0.0, schedule=one_shot()) if step.structure != n_m(2, 4) else None
    check_step(step, tiny_task, identity=nothing)


@pytest.mark.parametrize(
    "step",
    [
        Prune(0.8, structure=block(4, 1), schedule=cubic(every=0.1)),
        Prune(0.6, score=movement(), structure=channel(), schedule=constant(every=0.1)),
    ],
    ids=["block", "channel"],
)
def test_the_contract_in_training(step, tiny_task):
    check_step(TRAIN, tiny_task, after=(step,))
    with torch.no_grad():
        x = tiny_task.data.select.tensors[0]
        assert torch.allclose(step(tiny_task.model, tiny_task)(x), tiny_task.model(x), atol=1e-5)


QUANTIZED = Quantize(aware=Aware(delay=0.1, freeze=0.5))
ORDERS = {
    "prune, train, quantize": ("tiny", Prune(0.6, structure=block(2, 1)), TRAIN, Quantize()),
    "channels, train, quantize": ("residual", Prune(0.5, structure=channel()), TRAIN, Quantize()),
    "prune, quantize aware, train": ("residual", Prune(0.6), QUANTIZED, TRAIN),
    "channels, quantize aware, train": ("tiny", Prune(0.5, taylor(), channel()), QUANTIZED, TRAIN),
    "quantize aware, prune, train": ("tiny", QUANTIZED, Prune(0.6), TRAIN),
    "quantize aware, channels in training": (
        *("residual", QUANTIZED, Prune(0.5, taylor(), channel(), schedule=cubic(every=0.2)), TRAIN),
    ),
    "in training, quantize aware, train": ("tiny", Prune(0.6, movement(), schedule=cubic(every=0.2)), QUANTIZED, TRAIN),
    "weights only": ("tiny", Prune(0.5, structure=n_m(2, 4)), TRAIN, Quantize(activations=None, bits=4)),
}


@pytest.mark.parametrize(("which", "recipe"), [(name, recipe) for name, *recipe in ORDERS.values()], ids=ORDERS)
def test_zeros_stay_zeros_to_the_integers_of_the_file_in_every_order(which, recipe, request):
    task = request.getfixturevalue(f"{which}_task")
    model = run(recipe, task.model, task)
    gone = whole = 0
    for module in model.modules():
        chain = links(module)
        if any(isinstance(link, FakeQuantize) for link in chain) and any(isinstance(link, Mask) for link in chain):
            assert [link.stage for link in chain] == sorted(link.stage for link in chain)
            form = stored_form(module)
            assert isinstance(form.values, Codes)
            assert bool((form.values.codes[~form.keep] == 0).all())
            assert torch.equal(form.keep, mask_of(module).keep)
            gone, whole = gone + int((~form.keep).sum()), whole + form.keep.numel()
    assert gone > 0.2 * whole


@pytest.mark.parametrize("name", ["channels, train, quantize", "quantize aware, prune, train"])
def test_the_contract_of_what_follows(name, request):
    which, *recipe = ORDERS[name]
    check_step(recipe[-1], request.getfixturevalue(f"{which}_task"), after=recipe[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDERS)
def test_the_contract_of_every_order(name, request):
    which, *recipe = ORDERS[name]
    for count in range(1, len(recipe) + 1):
        check_step(recipe[count - 1], request.getfixturevalue(f"{which}_task"), after=recipe[: count - 1])


@pytest.mark.parametrize("step", [Prune(0.6), Prune(0.5, structure=channel())], ids=["elements", "channels"])
def test_masks_survive_fine_tuning_and_distillation(step, tiny_task):
    pruned = step(tiny_task.model, tiny_task)
    for train in (TRAIN, Train(epochs=1, loss=distilled(), optimizer=adam(lr=1e-2))):
        trained = run([step, train], tiny_task.model, tiny_task)
        for one, two in zip(masks(pruned), masks(trained), strict=True):
            assert torch.equal(one.keep, two.keep)
        before, after = pruned[4].weight, trained[4].weight
        assert torch.equal(before == 0, after == 0)
        assert not torch.equal(before, after)
        assert torch.equal(pruned[5].bias == 0, trained[5].bias == 0)


def test_a_compensating_score_writes_what_it_computes_and_later_layers_see_it(tiny_task):
    step = Prune(0.7, score=obs())
    pruned = step(tiny_task.model, tiny_task)
    plain = copy.deepcopy(pruned)
    for name in ("4", "9"):
        layer = plain.get_submodule(name)
        with torch.no_grad():
            layer.parametrizations.weight.original.copy_(tiny_task.model.get_submodule(name).weight)

    def loss(model):
        with torch.no_grad():
            return tiny_task.loss(model.eval(), tiny_task.data.calibrate.tensors).item()

    assert not torch.equal(pruned[4].weight, plain[4].weight)
    assert torch.equal(pruned[4].weight == 0, plain[4].weight == 0)
    assert loss(pruned) < loss(plain)


class Halved(Link):
    """What a gate is: a link before the masks."""

    stage = GATE

    def forward(self, weight):
        return weight / 2

    def stored(self, weight):
        raise NotImplementedError


def test_a_compensating_score_refuses_weights_that_are_made_by_others(tiny_task):
    model = copy.deepcopy(tiny_task.model)
    attach(model[4], Halved())
    with pytest.raises(
        UnsupportedError, match=r"obs.* writes new weights, and those of '4.weight' are made by Halved. Take Settle\(\)"
    ):
        Prune(0.5, score=obs())(model, tiny_task)


def test_the_state_comes_back_bit_for_bit_through_all_later_steps(tiny_task):
    recipe = (Prune(0.5, structure=channel()), TRAIN, Prune(0.7, structure=block(4, 1)), QUANTIZED, TRAIN)
    model = run(recipe, tiny_task.model, tiny_task)
    assert isinstance(model.get_submodule("4"), IntegerLayer)
    again = replay(recipe, tiny_task.model, tiny_task, model.state_dict())
    x = tiny_task.data.select.tensors[0]
    assert torch.equal(model(x), again(x))
    for one, two in zip(masks(model), masks(again), strict=True):
        assert one.block == two.block


def test_it_is_at_hand_and_goes_to_json_and_back():
    assert fw.Prune is Prune
    for step in STEPS:
        assert from_json(to_json(step)) == step
