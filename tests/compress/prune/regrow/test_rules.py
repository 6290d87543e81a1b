"""The rules of regrowth against loops written from the papers, and what they never break."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.compress.prune.regrow.rigl import rigl
from flyweight.compress.prune.regrow.rule import Layer, decayed
from flyweight.compress.prune.regrow.set_ import set_
from flyweight.compress.prune.regrow.snfs import snfs
from flyweight.compress.prune.regrow.static import static
from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json


def layer(units, live, seed):
    draw = torch.Generator().manual_seed(seed)
    kept = torch.zeros(units, dtype=torch.bool)
    kept[torch.randperm(units, generator=draw)[:live]] = True
    weight = torch.randn(units, generator=draw) * kept
    return Layer(kept, weight, torch.randn(units, generator=draw).abs())


def layers(sizes, seed=0):
    return [layer(units, live, seed + number) for number, (units, live) in enumerate(sizes)]


SIZES = st.lists(
    st.integers(1, 60).flatmap(lambda units: st.tuples(st.just(units), st.integers(1, units))), min_size=1, max_size=5
)


def rigl_loop(one, alpha, done):
    """Algorithm 1 of Evci et al., one connection after another."""
    live = [i for i in range(len(one.live)) if one.live[i]]
    k = math.floor(alpha / 2 * (1 + math.cos(math.pi * done)) * len(live))
    dropped = sorted(live, key=lambda i: abs(one.weight[i].item()))[:k]
    active = set(live) - set(dropped)
    dead = [i for i in range(len(one.live)) if i not in active]
    grown = sorted(dead, key=lambda i: -one.gradient[i].item())[:k]
    return active | set(grown)


def snfs_loop(several, rate, done):
    """Algorithm 1 of Dettmers and Zettlemoyer: shares by mean momentum, excess in equal parts; real numbers."""
    p = rate / 2 * (1 + math.cos(math.pi * done))
    mean, active, removed = [], [], 0
    for one in several:
        live = [i for i in range(len(one.live)) if one.live[i]]
        mean.append(sum(one.gradient[i].item() for i in live) / len(live))
        count = min(math.ceil(p * len(live)), len(live) - 1)
        removed += count
        active.append(set(live) - set(sorted(live, key=lambda i: abs(one.weight[i].item()))[:count]))
    room = [len(one.live) - len(kept) for one, kept in zip(several, active, strict=True)]
    wanted = [removed * m / sum(mean) for m in mean]
    for _ in range(1000):
        over = sum(max(0, w - r) for w, r in zip(wanted, room, strict=True))
        wanted = [min(w, r) for w, r in zip(wanted, room, strict=True)]
        free = [i for i in range(len(wanted)) if wanted[i] < room[i]]
        for i in free:
            wanted[i] += over / len(free)
    return active, wanted, removed


@given(SIZES, st.floats(0, 0.99), st.floats(0, 1), st.integers(0, 1000))
def test_rigl_is_the_papers(sizes, fraction, done, seed):
    several = layers(sizes, seed)
    got = rigl(fraction=fraction)(several, done, torch.Generator())
    for one, kept in zip(several, got, strict=True):
        assert set(kept.nonzero().flatten().tolist()) == rigl_loop(one, fraction, done)


@given(SIZES, st.floats(0, 0.99), st.floats(0, 1), st.integers(0, 1000))
def test_snfs_is_the_papers(sizes, fraction, done, seed):
    several = layers(sizes, seed)
    got = snfs(fraction=fraction)(several, done, torch.Generator())
    active, wanted, removed = snfs_loop(several, fraction, done)
    grown = 0
    for one, kept, stay, want in zip(several, got, active, wanted, strict=True):
        chosen = set(kept.nonzero().flatten().tolist())
        assert stay <= chosen
        count = len(chosen) - len(stay)
        assert abs(count - want) < 1 + 1e-6, "a share is rounded to a whole number beside it"
        dead = [i for i in range(len(one.live)) if i not in stay]
        assert chosen - stay == set(sorted(dead, key=lambda i: -one.gradient[i].item())[:count])
        grown += count
    assert grown == removed


def test_snfs_gives_more_to_the_layer_of_more_momentum():
    quiet, loud = layers([(100, 20), (100, 20)])
    loud = Layer(loud.live, loud.weight, loud.gradient * 9)
    kept = snfs()([quiet, loud], 0.0, torch.Generator())
    assert int(kept[1].sum()) > 20 > int(kept[0].sum())
    assert int(kept[0].sum()) + int(kept[1].sum()) == 40


@given(st.integers(1, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers(0, 1000))
def test_set_drops_the_nearest_to_zero_of_each_sign(size, seed):
    one = layer(*size, seed)
    (kept,) = set_(fraction=0.3)([one], 0.5, torch.Generator().manual_seed(seed))
    gone = one.live & ~kept
    for sign in (1, -1):
        side = [i for i in range(size[0]) if one.live[i] and (one.weight[i] >= 0) == (sign > 0)]
        nearest = sorted(side, key=lambda i: abs(one.weight[i].item()))[: int(0.3 * len(side))]
        assert {i for i in side if gone[i]} <= set(nearest), "what went was of the least of its sign"
    assert int(kept.sum()) == size[1]


def test_set_grows_anywhere_and_by_its_seed():
    one = layer(400, 40, 0)
    draws = [set_()([one], 0.0, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)]
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])


@pytest.mark.parametrize("rule", [rigl(), snfs(), set_(), static()])
@given(sizes=SIZES, done=st.floats(0, 1), seed=st.integers(0, 1000))
def test_as_many_live_as_before_and_no_layer_is_emptied(rule, sizes, done, seed):
    several = layers(sizes, seed)
    kept = rule(several, done, torch.Generator().manual_seed(seed))
    assert sum(int(k.sum()) for k in kept) == sum(live for _, live in sizes)
    assert all(int(k.sum()) > 0 for k in kept)
    if not isinstance(rule, snfs):
        assert [int(k.sum()) for k in kept] == [live for _, live in sizes]


@pytest.mark.parametrize("rule", [rigl(every=7), snfs(momentum=0.5), set_(until=0.5), static()])
def test_rules_go_to_json_and_back(rule):
    assert from_json(to_json(rule)) == rule


def test_without_gradients_every_layer_counts_alike():
    several = [Layer(one.live, one.weight, torch.zeros(len(one.live))) for one in layers([(40, 10), (40, 10)])]
    assert [int(k.sum()) for k in snfs()(several, 0.0, torch.Generator())] == [10, 10]


def test_the_share_falls_along_a_cosine():
    assert [round(decayed(0.3, done), 6) for done in (0.0, 0.5, 1.0)] == [0.3, 0.15, 0.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rigl(every=0), r"rigl got every=0\. Give the optimizer steps .* every=100"),
        (lambda: set_(until=0), r"set_ got until=0\. .* until=0\.75"),
        (lambda: rigl(fraction=1.0), r"rigl got fraction=1\.0\. Give a number from 0 to below 1"),
        (lambda: snfs(momentum=1.0), r"snfs got momentum=1\.0"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(FlyweightError, match=message):
        make()
