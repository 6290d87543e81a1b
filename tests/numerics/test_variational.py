"""The divergence of variational dropout against the integral that it stands for."""

import numpy as np
import pytest
import torch
from scipy import integrate

from flyweight.numerics.variational import LIMIT, divergence, log_alpha


def exact(la):
    """KL(N(1, α) ‖ log-uniform) = E log|ε| − ½ log α + (γ_E + log 2)/2, which is 0 as α → ∞."""
    spread = np.exp(la / 2)

    def term(e):
        return np.exp(-0.5 * ((e - 1) / spread) ** 2) / (spread * np.sqrt(2 * np.pi)) * np.log(abs(e))

    low, high = 1 - 12 * spread, 1 + 12 * spread
    tiny = 1e-12  # around the pole of log|ε|, whose integral there is nothing
    inner = [p for p in (-tiny, tiny, 1 - 3 * spread, 1, 1 + 3 * spread) if low < p < high]
    cuts = [low, *sorted(inner), high]
    total = sum(
        integrate.quad(term, a, b, limit=200)[0]
        for a, b in zip(cuts[:-1], cuts[1:], strict=True)
        if (a, b) != (-tiny, tiny)
    )
    return total - 0.5 * la + (np.euler_gamma + np.log(2)) / 2


@pytest.mark.parametrize("la", np.linspace(-8, 8, 17))
def test_the_divergence_is_the_integral_within_its_bound(la):
    assert float(divergence(torch.tensor(la))) == pytest.approx(exact(la), abs=0.01)


def test_it_falls_to_0_as_noise_grows_and_never_below():
    grid = torch.linspace(-20, 40, 2001, dtype=torch.float64)
    values = divergence(grid)
    assert (values.diff() <= 1e-12).all() and values.min() >= 0 and values[-1] < 1e-6


def test_its_gradient_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(divergence, (torch.linspace(-6, 6, 25, dtype=torch.float64).requires_grad_(),))


def test_log_alpha_is_noise_over_signal_and_clipped():
    weight, variance = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([-2.0, -40.0, 0.0])
    wanted = [-2.0 - np.log(0.25), -LIMIT, LIMIT]
    assert log_alpha(variance, weight).tolist() == pytest.approx(wanted, rel=1e-5)
