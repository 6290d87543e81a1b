import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.pools.prunable import Weight
from flyweight.compress.prune.pools.tiles import tiles
from flyweight.compress.prune.scores.obs import obs
from flyweight.core.errors import FlyweightError, ShapeError, TrainingError


def problem(rows=3, columns=6, samples=50, groups=1, seed=0):
    """Correlated inputs and a weight; the evidence as ``gather`` gives it."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns, columns, generator=generator)
    x = [torch.randn(samples, columns, generator=generator) @ mix for _ in range(groups)]
    weight = torch.randn(groups * rows, columns, generator=generator)
    gram = torch.stack([one.T @ one / samples for one in x])
    return x, Evidence("w", weight, gram=gram[0] if groups == 1 else gram)


def best(x, target, keep):
    """The least squares of X·w = target over the columns in ``keep``, solved by itself."""
    w = torch.zeros(x.shape[1], dtype=torch.float64)
    if bool(keep.any()):
        w[keep] = torch.linalg.lstsq(x[:, keep].double(), target, driver="gelsd").solution
    return w


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 2))
def test_what_stays_is_the_exact_least_squares(seed, groups):
    x, evidence = problem(groups=groups, seed=seed)
    keep = torch.rand(evidence.weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    found = obs(damping=0.0).compensate(evidence, keep)
    assert bool((found[~keep] == 0).all())
    for row in range(len(keep)):
        inputs = x[row // 3]
        wanted = best(inputs, inputs.double() @ evidence.weight[row].double(), keep[row])
        torch.testing.assert_close(found[row].double(), wanted, rtol=2e-3, atol=2e-3)


def test_the_saliency_is_the_loss_of_the_best_update_without_that_weight():
    x, evidence = problem()
    found = obs(damping=0.0)(evidence)
    for row in range(3):
        target = x[0].double() @ evidence.weight[row].double()
        for q in range(6):
            keep = torch.arange(6) != q
            left = x[0].double() @ best(x[0], target, keep) - target
            assert float(found[row, q]) == pytest.approx(0.5 * float(left.square().mean()), rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("together", [None, torch.tensor([0, 0, 1, 1, 2, 2])])
def test_what_is_gone_already_makes_up_for_nothing(together):
    x, evidence = problem(seed=2)
    evidence.weight[0, 1] = evidence.weight[1, 4] = evidence.weight[1, 5] = 0
    found = obs(damping=0.0)(dataclasses.replace(evidence, together=together))
    for row in range(3):
        live = evidence.weight[row] != 0
        target = x[0].double() @ evidence.weight[row].double()
        for q in range(6):
            going = torch.arange(6) == q if together is None else together == together[q]
            left = x[0].double() @ best(x[0], target, live & ~going) - target
            cost = 0.5 * float(left.square().mean())
            assert float(found[row, going].sum()) == pytest.approx(cost, rel=1e-2, abs=1e-4)


def test_uncorrelated_inputs_make_it_wanda_squared():
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0])) * 3**0.5
    weight = torch.randn(2, 3)
    found = obs(damping=0.0)(Evidence("w", weight, gram=x.T @ x / 3))
    torch.testing.assert_close(found, 0.5 * weight**2 * torch.tensor([1.0, 4.0, 9.0]))


def test_greedy_against_a_naive_twin():
    _, evidence = problem(rows=4, columns=5, seed=4)
    found = obs(damping=0.05, greedy=True)(evidence)
    hessian = evidence.gram.double()
    hessian = hessian + 0.05 * hessian.diagonal().mean() * torch.eye(5, dtype=torch.float64)
    for row in range(4):
        w, live, highest = evidence.weight[row].double().clone(), list(range(5)), 0.0
        while live:
            inverse = torch.linalg.inv(hessian[live][:, live])
            costs = [float(w[q] ** 2 / (2 * inverse[k, k])) for k, q in enumerate(live)]
            k = min(range(len(live)), key=costs.__getitem__)
            q, highest = live[k], max(highest, costs[k])
            assert float(found[row, q]) == pytest.approx(highest, rel=1e-4, abs=1e-7)
            w[live] -= w[q] / inverse[k, k] * inverse[:, k]
            live.remove(q)
            w[q] = 0


def test_of_two_inputs_that_say_the_same_greedy_keeps_one():
    x = torch.randn(200, 3)
    x[:, 1] = x[:, 0]
    evidence = Evidence("w", torch.tensor([[1.0, 1.0, 0.5]]), gram=x.T @ x / 200)
    at_once, greedy = obs()(evidence)[0], obs(greedy=True)(evidence)[0]
    assert at_once.argsort()[:2].tolist() in ([0, 1], [1, 0])  # each alone is worth nothing, so both would go
    assert float(greedy[:2].max()) > float(greedy[2])  # the one that is left does the work of two
    assert float(greedy[:2].min()) < 0.1 * float(greedy[2])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 4), st.sampled_from([False, True]))
def test_a_tile_costs_what_the_best_update_without_it_leaves(seed, high, wide, taps):
    x, evidence = problem(rows=4, columns=6, seed=seed)
    layer = nn.Conv1d(3, 4, 2, bias=False) if taps else nn.Linear(6, 4, bias=False)
    pool = tiles(Weight("w", ((layer, "weight", "w"),)), (high, wide), taps=taps)
    weight = evidence.weight.reshape(layer.weight.shape)
    told = obs(damping=0.0)(Evidence("w", weight, gram=evidence.gram, together=pool.together))
    found = pool.saliency({"w": told})
    for tile in range(len(found)):
        one = torch.zeros(len(found), dtype=torch.bool)
        one[tile] = True
        pool.write(~one)
        keep = pool.masks[0].keep.reshape(4, 6).clone()
        pool.write(torch.ones_like(one))
        cost = 0.0
        for row in range(4):
            target = x[0].double() @ evidence.weight[row].double()
            left = x[0].double() @ best(x[0], target, keep[row]) - target
            cost += 0.5 * float(left.square().mean())
        assert float(found[tile]) == pytest.approx(cost, rel=2e-2, abs=1e-3)


def test_tiles_of_which_two_weights_say_the_same_are_not_taken_for_worthless():
    x = torch.randn(200, 4)
    x[:, 1] = x[:, 0]
    evidence = Evidence("w", torch.tensor([[1.0, 1.0, 0.5, 0.5]]), gram=x.T @ x / 200)
    together = torch.tensor([0, 0, 1, 1])
    alone = obs()(evidence)[0]
    tiled = obs()(dataclasses.replace(evidence, together=together))[0]
    assert alone[:2].sum() < alone[2:].sum() and tiled[:2].sum() > tiled[2:].sum()


def test_blocks_are_taken_by_themselves():
    _, evidence = problem()
    apart = evidence.gram.clone()
    apart[:3, 3:] = apart[3:, :3] = 0
    keep = torch.rand(3, 6) < 0.5
    alone = Evidence("w", evidence.weight, gram=apart)
    for greedy in (False, True):
        # The damping goes by the mean over a block, so none here.
        score, whole = obs(damping=0, block=3, greedy=greedy), obs(damping=0, greedy=greedy)
        torch.testing.assert_close(
            score.compensate(evidence, keep), whole.compensate(alone, keep), rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(obs(damping=0, block=3)(evidence), obs(damping=0)(alone))


def test_what_keeps_all_or_nothing():
    _, evidence = problem()
    assert torch.equal(obs().compensate(evidence, torch.ones(3, 6, dtype=torch.bool)), evidence.weight)
    assert not obs().compensate(evidence, torch.zeros(3, 6, dtype=torch.bool)).any()


def test_inputs_that_are_all_zero_leave_the_weights_own_size():
    weight = torch.randn(2, 4)
    torch.testing.assert_close(obs()(Evidence("w", weight, gram=torch.zeros(4, 4))), 0.5 * weight**2)


def test_errors():
    with pytest.raises(FlyweightError, match=r"obs got damping=-1. Give 0 or more; 0.01 is usual."):
        obs(damping=-1)
    with pytest.raises(FlyweightError, match=r"obs got block=0. Give 1 or more, as in block=128."):
        obs(block=0)
    with pytest.raises(ShapeError, match=r"obs got a Gram matrix of shape \(3, 3\) for 'w' of shape \(2, 4\)"):
        obs()(Evidence("w", torch.ones(2, 4), gram=torch.eye(3)))
    with pytest.raises(TrainingError, match=r"can't invert the Gram matrix of 'w' \(2 columns\): with damping=0 "):
        obs(damping=0.0)(Evidence("w", torch.ones(2, 2), gram=torch.ones(2, 2)))
