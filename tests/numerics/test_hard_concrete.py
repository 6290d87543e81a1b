"""The hard-concrete distribution against numerical integration over its noise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from flyweight.numerics.hard_concrete import HIGH, LIMIT, LOW, probability_open, sampled_gate, settled_gate


def gate(u, log_alpha):
    """z(u), written out in numpy with the paper's letters."""
    beta, gamma, zeta = 2 / 3, -0.1, 1.1
    s = 1 / (1 + np.exp(-(np.log(u) - np.log(1 - u) + log_alpha) / beta))
    return np.clip(s * (zeta - gamma) + gamma, 0, 1)


def integral(function, log_alpha):
    """∫₀¹ function(z(u)) du, cut where z leaves 0 and reaches 1."""
    edges = [float(u) for u in np.linspace(0, 1, 4001)[1:-1]]
    flat = [gate(u, log_alpha) in (0.0, 1.0) for u in edges]
    turns = [u for u, a, b in zip(edges[1:], flat[:-1], flat[1:], strict=True) if a != b]
    cuts = [0.0, *turns, 1.0]
    return sum(
        integrate.quad(lambda u: function(gate(u, log_alpha)), a, b, limit=200)[0]
        for a, b in zip(cuts[:-1], cuts[1:], strict=True)
    )


@pytest.mark.parametrize("log_alpha", [-4.0, -1.5, 0.0, 0.7, 3.0])
def test_the_probability_of_an_open_gate_is_the_integral(log_alpha):
    wanted = integral(lambda z: float(z > 0), log_alpha)
    assert float(probability_open(torch.tensor(log_alpha))) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("log_alpha", [-2.0, 0.0, 1.0, 3.0])
def test_the_mean_gate_and_its_square_are_those_of_the_integral(log_alpha):
    uniform = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    drawn = sampled_gate(torch.full_like(uniform, log_alpha), uniform)
    assert float(drawn.mean()) == pytest.approx(integral(lambda z: z, log_alpha), abs=1e-4)
    assert float((drawn**2).mean()) == pytest.approx(integral(lambda z: z * z, log_alpha), abs=1e-4)


@given(st.floats(-LIMIT, LIMIT), st.floats(1e-6, 1 - 1e-6))
def test_gates_lie_within_0_and_1_and_open_as_log_alpha_grows(log_alpha, u):
    at = torch.tensor([log_alpha, log_alpha + 0.5], dtype=torch.float64)
    for gates in (sampled_gate(at, torch.full_like(at, u)), settled_gate(at), probability_open(at)):
        assert 0 <= gates[0] <= gates[1] <= 1


def test_a_settled_gate_is_exactly_0_and_1_at_the_ends():
    ends = torch.tensor([-LIMIT, -2.4, 2.4, LIMIT])
    assert settled_gate(ends).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert float(settled_gate(torch.tensor(0.0))) == pytest.approx((HIGH + LOW) / 2)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_gradients_are_those_of_finite_differences(seed):
    torch.manual_seed(seed)
    log_alpha = torch.randn(6, dtype=torch.float64).requires_grad_()
    uniform = torch.rand(6, dtype=torch.float64).clamp(0.05, 0.95)
    kept = sampled_gate(log_alpha, uniform)
    # Away from the kinks at 0 and 1, where there is no derivative.
    smooth = (kept.detach() == 0) | (kept.detach() == 1) | ((kept.detach() > 1e-3) & (kept.detach() < 1 - 1e-3))
    assert torch.autograd.gradcheck(lambda a: sampled_gate(a, uniform)[smooth], (log_alpha,), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradcheck(probability_open, (log_alpha,))
