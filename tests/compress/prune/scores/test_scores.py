"""What all scores keep to."""

import dataclasses

import pytest
import torch

from flyweight.compress.prune.evidence import NEEDS, Evidence
from flyweight.compress.prune.scores.activation import activation
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.momentum import momentum
from flyweight.compress.prune.scores.movement import movement
from flyweight.compress.prune.scores.norm_scale import norm_scale
from flyweight.compress.prune.scores.obd import obd
from flyweight.compress.prune.scores.obs import obs
from flyweight.compress.prune.scores.random import random
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.core.errors import FlyweightError, TrainingError
from flyweight.core.serial import from_json, to_json

SCORES = (
    *(magnitude(), magnitude(p=2), random(3), taylor(), taylor(squared=True), movement(), momentum(), obd()),
    *(obs(), obs(greedy=True), obs(block=5), activation(), norm_scale()),
)


def evidence(**fields) -> Evidence:
    """All that there can be of a weight of 6 × 2 × 2 × 2, some of it zero, in float16."""
    x = torch.randn(40, 8)
    weight = torch.randn(6, 2, 2, 2).half()
    weight[0] = 0
    full = {need: torch.randn(6, 2, 2, 2) for need in ("gradient", "movement", "momentum")}
    full |= {"curvature": torch.rand(6, 2, 2, 2), "inputs": x.norm(dim=0), "gram": x.T @ x / 40}
    return Evidence(**{"name": "stem.weight", "weight": weight, **full, **fields})


@pytest.mark.parametrize("score", SCORES, ids=repr)
def test_every_score_gives_numbers_in_the_weights_shape_and_goes_to_json(score):
    told = score(evidence())
    assert told.shape == (6, 2, 2, 2) and bool(torch.isfinite(told).all())
    assert from_json(to_json(score)) == score
    assert set(score.needs) <= set(NEEDS) and score.reads in ("weight", "norm")
    assert dataclasses.is_dataclass(score) and type(score).__dataclass_params__.frozen


@pytest.mark.parametrize("score", [s for s in SCORES if s.needs], ids=repr)
def test_a_score_says_what_is_missing_and_where_it_comes_from(score):
    (need,) = score.needs
    name = type(score).__name__
    start = f"FlyweightError: the score {name} needs the {need} of 'stem.weight', and has none: "
    with pytest.raises(FlyweightError) as error:
        score(evidence(**{need: None}))
    assert str(error.value).startswith(start)
    assert ("training" if need in ("movement", "momentum") else "gather(") in str(error.value)


@pytest.mark.parametrize("score", [s for s in SCORES if not isinstance(s, random)], ids=repr)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_score_lets_nan_or_infinity_pass(score, value):
    field = score.needs[0] if score.needs else "weight"
    broken = getattr(evidence(), field).clone()
    broken.view(-1)[0] = value
    with pytest.raises(TrainingError, match=f"can't order 'stem.weight': its {field} holds NaN or infinity"):
        score(evidence(**{field: broken}))


def test_magnitude_takes_one_or_two():
    one = evidence()
    assert torch.equal(magnitude()(one), one.weight.float().abs())
    assert torch.equal(magnitude(p=2)(one), one.weight.float() ** 2)
    with pytest.raises(FlyweightError, match=r"magnitude got p=3. Give p=1, or p=2 for squares."):
        magnitude(p=3)


def test_chance_hangs_on_seed_name_and_shape_alone():
    state = torch.get_rng_state()
    one = random(1)(evidence())
    assert torch.equal(torch.get_rng_state()[:8], state[:8])
    assert torch.equal(random(1)(evidence()), one)
    assert not torch.equal(random(2)(evidence()), one)
    other = dataclasses.replace(evidence(), name="head.weight")
    assert not torch.equal(random(1)(other), one)
    # Written down once: the same on every machine.
    small = Evidence(name="w", weight=torch.zeros(3))
    torch.testing.assert_close(random(0)(small), torch.tensor([0.717237, 0.441522, 0.508309]), rtol=1e-5, atol=1e-6)
    assert float(one.min()) >= 0 and float(one.max()) < 1


def test_what_training_heard_is_passed_on():
    one = evidence()
    assert torch.equal(movement()(one), one.movement)
    assert torch.equal(momentum()(one), one.momentum.abs())
    assert torch.equal(norm_scale()(one), one.weight.float().abs())
    assert norm_scale().reads == "norm"
    torch.testing.assert_close(obd()(one), 0.5 * one.curvature * one.weight.float() ** 2)
    assert torch.equal(taylor()(one), (one.gradient * one.weight.float()).abs())
    assert torch.equal(taylor(squared=True)(one), (one.gradient * one.weight.float()) ** 2)
