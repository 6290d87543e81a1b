from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.surgery.activation import Requantize


def at(step, total=100):
    return SimpleNamespace(step=step, total=total, optimizer=None)


def settled(low, high, **more):
    module = Requantize(**more)
    module.settle(torch.tensor(low), torch.tensor(high))
    return module


@settings(max_examples=50, deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(2, 8))
def test_rounding_is_idempotent_and_keeps_zero(a, b, bits):
    module = settled(min(a, b), max(a, b), bits=bits).eval()
    x = torch.linspace(-60, 60, 500)
    once = module(x)
    assert torch.equal(module(once), once)
    assert torch.equal(module(once, again=True), once)
    assert module(torch.zeros(1)).item() == 0
    assert len(once.unique()) <= 2**bits


def test_it_is_what_quantizelinear_computes():
    module = settled(-1.0, 3.0).eval()
    x = torch.linspace(-2, 4, 97)
    codes = (torch.round(x / module.scale) + module.zero_point).clamp(0, 255)
    assert torch.equal(module(x), (codes - module.zero_point) * module.scale)


def test_while_observed_values_pass_and_each_is_seen_once():
    module, seen = Requantize(), []
    module.observe(seen.append)
    x = torch.randn(4)
    assert module(x) is x
    assert module(x, again=True) is x
    assert len(seen) == 1
    assert not module.rounds
    module.settle(torch.tensor(-1.0), torch.tensor(1.0))
    assert module.rounds
    assert len(module(torch.linspace(-1, 1, 999)).unique()) >= 255


def test_training_follows_the_policy():
    module = settled(0.0, 1.0, ema=0.9, delay=0.2, freeze=0.7).train()
    x = torch.tensor([-1.0, 2.0])
    assert torch.equal(module(x), x)
    assert module.low.item() == pytest.approx(-0.1)
    assert module.high.item() == pytest.approx(0.9 + 0.2)
    module(x, again=True)
    assert module.high.item() == pytest.approx(1.1)
    module.after_step(at(19))
    assert not module.rounds
    module.after_step(at(20))
    assert module.rounds
    assert not torch.equal(module(x), x)
    module.after_step(at(70))
    high = module.high.item()
    module(x)
    assert module.high.item() == high
    module.after_step(at(1))
    assert module.rounds


def test_in_evaluation_it_always_rounds():
    module = settled(0.0, 1.0, ema=0.9, delay=0.5, freeze=0.7).eval()
    assert module.rounds
    assert len(module(torch.linspace(0, 1, 999)).unique()) == 256
    assert module.high.item() == 1.0


def test_a_state_dict_brings_ranges_and_phase():
    first = settled(-0.3, 2.0, ema=0.9, delay=0.2, freeze=0.7)
    first.after_step(at(50))
    second = Requantize(ema=0.9, delay=0.2, freeze=0.7)
    second.load_state_dict(first.state_dict())
    x = torch.randn(50)
    assert second.rounds
    assert torch.equal(first(x), second(x))
    assert torch.equal(first.high, second.high)
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_the_gradient_passes_inside_the_range():
    module = settled(-1.0, 1.0).eval()
    x = torch.tensor([-3.0, 0.3, 3.0], requires_grad=True)
    module(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]
