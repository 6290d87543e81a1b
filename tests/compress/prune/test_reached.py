"""What pruning did not reach is told: by heads that go whole, by layers that are never emptied, by multiples."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from flyweight.compress.prune.cut import Judged
from flyweight.compress.prune.distributions.fixed import fixed
from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.lottery import LotteryTicket
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.reached import tell_reached
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.prune.structures.head import head
from flyweight.compress.prune.structures.layer import layer
from flyweight.core.notes import noted
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import sgd
from flyweight.learn.train import Train
from flyweight.search.candidate import Candidate
from flyweight.search.evaluate import Evaluator
from flyweight.search.sketch import Sketch, sketched
from flyweight.tasks.cross_entropy import cross_entropy
from nets import plain_task, random_net
from pools import PlainPool


class Attention(nn.Module):
    """Self-attention of ``heads`` heads of two on a residual."""

    def __init__(self, heads):
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.query, self.key, self.value = (nn.Linear(8, 2 * heads) for _ in range(3))
        self.out = nn.Linear(2 * heads, 8)

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (f(y).unflatten(-1, (-1, 2)).transpose(1, 2) for f in (self.query, self.key, self.value))
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Rows(nn.Module):
    """A classifier of images whose rows are its tokens, with an attention of each number of ``heads``."""

    def __init__(self, *heads):
        super().__init__()
        self.layers = nn.ModuleList(Attention(count) for count in heads)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = x.squeeze(1)
        for one in self.layers:
            x = one(x)
        return self.head(x.mean(1))


def told(step, model, example=None):
    with noted() as notes:
        step(model, plain_task(model, torch.zeros(2, 1, 8, 8) if example is None else example))
    return notes


def heads(ratio, *counts, **more):
    torch.manual_seed(0)
    return told(Prune(ratio, structure=head(), **more), Rows(*counts).eval())


def test_a_ratio_below_what_had_gone_is_told():
    """Ratios count what has gone, so 30 % after 50 % is nothing: masks stay as they were, and a note says so."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 32)).eval()
    task = plain_task(model, torch.zeros(2, 64))
    half = Prune(0.5)(model, task)
    with noted() as notes:
        less = Prune(0.3)(half, task)
    (note,) = notes
    assert note == (
        "pruning was asked for 30 % of the parameters of weights, of which 50 % had gone before: it took no more. What "
        "has gone counts in the ratio. Choose one above 0.5, or leave this pruning out."
    )
    assert all(torch.equal(a, b) for a, b in zip(half.state_dict().values(), less.state_dict().values(), strict=True))
    with noted() as notes:
        for ratio in (0.0, 0.5, 0.7):
            Prune(ratio)(half, task)
    assert notes == [], "nothing, the same again, and more are all that they say"


def test_a_ratio_that_whole_heads_cannot_meet():
    (note,) = heads(0.3, 12)
    assert note == (
        "pruning was asked for 30 % of the parameters of heads, and took 33.3 %: heads go whole, and one is 8.33 %. "
        "Choose ratio=0.3333, which is met, or a finer structure, such as element()."
    )
    (note,) = heads(0.95, 2)
    assert note == (
        "pruning was asked for 95 % of the parameters of heads, and took 50 %: no layer is emptied, and "
        "'layers.0.query' came down to one of its heads. Choose ratio=0.5, which is met, or a finer structure, such as "
        "element()."
    )
    (note,) = heads(0.95, 2, 2, 3, distribution=global_(of="units"))
    assert "95 % of heads, and took 57.1 %: no layer is emptied, and 'layers.0.query' and 2 more came down" in note


@pytest.mark.parametrize(
    ("ratio", "counts"), [(0.25, (12,)), (0.0, (3,)), (0.5, (2, 4)), (0.5, (12, 12)), (0.3, (10,))]
)
def test_a_ratio_that_they_meet(ratio, counts):
    assert heads(ratio, *counts) == []


class Heads(PlainPool):
    round_to, units = 1, "heads"


@settings(deadline=None)
@given(st.floats(0, 0.99), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_told_is_what_differs_and_the_ratio_that_is_named_is_met(ratio, sizes):
    def pruned(ratio):
        pools = [Heads(str(index), torch.ones(size)) for index, size in enumerate(sizes)]
        judged = Judged(pools, [torch.arange(float(size)) for size in sizes])
        for pool, keep in zip(pools, judged.keep(uniform()(pools, judged.saliency, ratio, None)), strict=True):
            pool.write(keep)
        with noted() as notes:
            tell_reached(pools, ratio, uniform())
        return sum(int((~pool.kept).sum()) for pool in pools) / sum(sizes), notes

    got, notes = pruned(ratio)
    assert len(notes) == (abs(got - ratio) > 0.005 + 1e-9)
    for text in notes:
        assert f"asked for {100 * ratio:.3g} % of the parameters of heads, and took {100 * got:.3g} %: " in text
        named = float(text.partition("Choose ratio=")[2].partition(",")[0])
        assert pruned(named) == (got, [])


def test_channels_and_layers_are_told_of_beyond_rounding():
    model, example = random_net((16, 24, 8)), torch.zeros(2, 4)
    for ratio in (0.1, 0.33, 0.5, 0.77):
        assert told(Prune(ratio, structure=channel()), model, example) == []
        assert told(Prune(ratio), model, example) == []
    (note,) = told(Prune(0.99, structure=channel()), model, example)
    assert "no layer is emptied, and '1' and 1 more came down to one of its channels. Choose ratio=0.9" in note
    (note,) = told(Prune(0.5, structure=channel(round_to=8)), model, example)
    assert "channels that stay come in multiples of 8. Choose another ratio, or a smaller round_to." in note
    (note,) = told(Prune(0.9, structure=channel(), distribution=global_(least=0.5)), model, example)
    assert "global_(normalize='none', least=0.5, of='parameters') lets no more go" in note
    (note,) = told(Prune(0.9, structure=element(first=True), distribution=global_(least=0.5)), model, example)
    assert "90 % of the parameters of weights, and took 50 %" in note
    (note,) = told(Prune(0.9, structure=block(4, 1), distribution=global_(least=0.5)), model, example)
    assert "of the parameters of blocks" in note
    assert told(Prune(0.4, distribution=fixed((("2", 0.5), ("3", 0.5)))), model, example) == []
    layers = Rows(2, 2, 2, 2).eval()
    assert told(Prune(0.3, structure=layer()), layers) == []
    assert told(Prune(0.6, structure=layer()), layers) == []
    (note,) = told(Prune(0.99, structure=layer()), layers)
    assert "99 % of the parameters of layers, and took 75 %: one layer always stays. Choose ratio=0.75, which" in note


def test_what_was_gone_before_is_not_missed():
    torch.manual_seed(0)
    model = Rows(4, 4).eval()
    halved = Prune(0.5, structure=head())(model, plain_task(model, torch.zeros(2, 1, 8, 8)))
    (note,) = told(Prune(0.3, structure=head()), halved)
    assert "30 % of the parameters of heads, of which 50 % had gone before: it took no more" in note
    (note,) = told(Prune(0.7, structure=head()), halved)
    assert "70 % of the parameters of heads, and took 75 %" in note


@pytest.fixture
def task(fresh_task):
    torch.manual_seed(0)
    return dataclasses.replace(fresh_task, model=Rows(3, 2), fit=Fit(precision="no", checkpoint_seconds=0))


TRAIN = Train(1, sgd(lr=0.05))
MISSED = "pruning was asked for 50 % of the parameters of heads, and took 40 %"
RECIPES = {
    "training": [Prune(0.5, structure=head(), schedule=cubic(every=0.25, end=0.75)), TRAIN, TRAIN, Remove()],
    "rounds": [Prune(0.5, structure=head(), schedule=iterative(2, TRAIN)), Remove()],
    "ticket": [LotteryTicket(0.5, TRAIN, rounds=2, by=Prune(0.0, structure=head())), Remove()],
}


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_told_once_whatever_the_schedule_and_again_from_the_store(task, tmp_path, name):
    for _ in range(2):
        with noted() as notes:
            run(RECIPES[name], task.model, task, Store(tmp_path))
        assert [text.partition(":")[0] for text in notes] == [MISSED]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("fatal", [4, 6])
def test_a_killed_run_tells_it_too(task, tmp_path, name, fatal):
    calls = []

    def mortal(forward, batch):
        calls.append(1)
        if len(calls) == fatal:
            raise KeyboardInterrupt
        return cross_entropy(forward, batch)

    task = dataclasses.replace(task, loss=mortal)
    with pytest.raises(KeyboardInterrupt), noted():
        run(RECIPES[name], task.model, task, Store(tmp_path))
    with noted() as notes:
        run(RECIPES[name], task.model, task, Store(tmp_path))
    assert [text.partition(":")[0] for text in notes] == [MISSED]


def test_a_search_has_it_on_the_point(task, tmp_path, monkeypatch):
    evaluator = Evaluator(dataclasses.replace(task, fit=Fit(precision="no")), Store(tmp_path), "onnxruntime")
    candidate = Candidate(label="heads", recipe=tuple(RECIPES["training"]))
    sketch = sketched(evaluator, dataclasses.replace(candidate, sketch=Sketch(earnest=0)))
    point = evaluator(candidate)
    assert point.failure is None
    for one in (sketch, point):
        assert [text.partition(":")[0] for text in one.notes if "pruning" in text] == [MISSED]
    kept = json.loads(next((tmp_path / "points").glob(f"{point.id}*")).read_text())
    assert any(text.startswith(MISSED) for text in kept["notes"])
