"""Sparse training step by step: against loops from the papers, and what holds at every step under every optimizer."""

import copy
import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.utils.data import TensorDataset

import tiny
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.regrow.regrow import Regrow
from flyweight.compress.prune.regrow.regrowth import Regrowth
from flyweight.compress.prune.regrow.rigl import rigl
from flyweight.compress.prune.regrow.set_ import set_
from flyweight.compress.prune.regrow.snfs import snfs
from flyweight.compress.prune.regrow.static import static
from flyweight.core.errors import TrainingError
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.core.task import Splits, Task
from flyweight.core.weights import load_state
from flyweight.learn.feed import Feed
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.progress import Progress
from flyweight.learn.schedules import constant
from flyweight.learn.train import Train
from flyweight.surgery.chain import links
from flyweight.surgery.mask import Mask
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy

RULES = [rigl(every=2), snfs(every=2), set_(every=2), static()]
OPTIMIZERS = [adam(lr=0.01, weight_decay=0.1), sgd(lr=0.05, weight_decay=0.01), sgd(lr=0.05, momentum=0.0)]


def masks(model):
    return {name: m for name, m in model.named_modules() if isinstance(m, Mask)}


def counts(model):
    """How much each weight keeps; one that stands in several places counts once."""
    return {id(weight): int(masks(model)[name].keep.sum()) for name, weight in under(model).items()}


def under(model):
    """Each mask's weight under the chain, by the mask's name."""
    found = {}
    for prefix, module in model.named_modules():
        for link in links(module):
            if isinstance(link, Mask):
                found[f"{prefix}.parametrizations.weight.0"] = module.parametrizations.weight.original
    return found


def mlp(*sizes):
    layers = [nn.Flatten()]
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def small(model, examples=48):
    """A task of a few steps: ``examples`` images, 8 a step."""
    train = TensorDataset(*(t[:examples] for t in tiny.images(512, 1).tensors))
    data = Splits(train=train, calibrate=train, select=train, report=train)
    fields = {"name": "small", "data": data, "loss": cross_entropy, "quality": accuracy}
    return Task(model=model, example=(torch.zeros(2, 1, 8, 8),), fit=Fit(precision="no"), **fields)


@st.composite
def networks(draw):
    """A network of convolutions, grouped and tied ones among them, and linear layers, of any widths."""
    a, b, hidden = (draw(st.integers(2, 9)) for _ in range(3))
    kind = draw(st.sampled_from(["conv", "grouped", "mlp", "tied"]))
    with torch.random.fork_rng():
        torch.manual_seed(draw(st.integers(0, 99)))
        if kind == "mlp":
            return mlp(64, a, b, hidden, 4)
        if kind == "tied":
            model = mlp(64, a, a, a, 4)
            model[5].weight = model[3].weight
            return model
        groups = 2 if kind == "grouped" else 1
        return nn.Sequential(
            *(nn.Conv2d(1, 2 * a, 3), nn.ReLU(), nn.Conv2d(2 * a, 2 * b, 3, groups=groups), nn.BatchNorm2d(2 * b)),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(32 * b, hidden), nn.ReLU(), nn.Linear(hidden, 4)),
        )


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["adam", "momentum", "plain"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@settings(max_examples=4, deadline=None)
@given(model=networks(), ratio=st.floats(0, 0.98), block=st.sampled_from([(1, 1), (2, 1), (1, 3)]))
def test_sparsity_is_exact_at_every_step(rule, optimizer, model, ratio, block):
    task = small(model)
    model = Regrow(ratio, rule, uniform(), block)(model, task)
    start, before, moved = counts(model), {n: m.keep.clone() for n, m in masks(model).items()}, []
    assert all(count > 0 for count in start.values())

    def look(progress):
        now = counts(model)
        if block == (1, 1):
            assert sum(now.values()) == sum(start.values())
            assert isinstance(rule, snfs) or now == start
        assert all(count > 0 for count in now.values())
        for name, weight in under(model).items():
            keep = masks(model)[name].keep
            assert not weight[~keep].any(), "what is masked is zero"
            changed = keep != before[name]
            states = [
                s for s in progress.optimizer.state.get(weight, {}).values() if getattr(s, "shape", 0) == keep.shape
            ]
            assert len(states) == {adam: 2, sgd: int(getattr(optimizer, "momentum", 0) > 0)}[type(optimizer)]
            for state in states:
                assert not state[~keep].any()
                assert not state[changed].any(), "what grows starts anew"
            assert not weight[changed].any()
            moved.append(bool(changed.any()))
            before[name] = keep.clone()

    fit = Fit(precision="no", after_step=(look,))
    fit(model, task, Train(epochs=2, batch_size=8, optimizer=optimizer))
    assert len(moved) == 12 * len(masks(model))
    if isinstance(rule, static):
        assert not any(moved)


@pytest.mark.parametrize("rule", RULES[:3], ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize(("until", "updates"), [(0.75, [3, 6, 9, 12]), (2 / 3, [3, 6, 9])])
def test_masks_move_when_it_is_time_and_at_no_other(rule, until, updates):
    rule = dataclasses.replace(rule, every=3, until=until)
    model = Regrow(0.8, rule, uniform())(mlp(64, 40, 40, 4), small(mlp(64, 4)))
    seen, heard = {n: m.keep.clone() for n, m in masks(model).items()}, []
    moved = []

    def look(progress):
        if any(not mask.keep.equal(seen[name]) for name, mask in masks(model).items()):
            moved.append(progress.step)
        seen.update({n: m.keep.clone() for n, m in masks(model).items()})
        heard.append(all(mask.hears for mask in masks(model).values()))

    task = dataclasses.replace(small(model), fit=Fit(precision="no", after_step=(look,)))
    trained = task.fit(model, task, Train(epochs=3, batch_size=8))
    assert moved == updates, "of 18 steps those before 13.5, or before 12"
    all_along = set(range(1, math.ceil(18 * until)))
    listens = {rigl: {step - 1 for step in updates}, snfs: all_along, set_: set()}[type(rule)]
    assert {step for step, on in enumerate(heard, 1) if on} == listens, "gradients are heard where they are asked for"
    kept = {n: m.keep.clone() for n, m in masks(trained).items()}
    again = task.fit(trained, task, Train(epochs=3, batch_size=8, seed=1))
    assert all(mask.keep.equal(kept[name]) for name, mask in masks(again).items()), "a later training moves nothing"
    assert not any(name.rpartition(".")[2].startswith("mean") for name in again.state_dict())


def twin(model, keeps, task, train, rule):
    """Sparse training by hand: the dense gradient by autograd, Nesterov's step, drop and grow one by one."""
    values = {n: p.detach().clone() for n, p in model.named_parameters()}
    speed = {n: torch.zeros_like(v) for n, v in values.items()}
    mean = {n: torch.zeros_like(keeps[n]).float() for n in keeps}
    feed = Feed(task.data.train, train.batch_size, torch.device("cpu"), train.seed, (1, 0, 1), 0)
    total = train.epochs * feed.steps
    end, step = rule.until * total, 0
    for epoch in range(train.epochs):
        for ((batch, _, _),) in feed.epoch(epoch):
            step += 1
            seen = {n: (v * keeps[n] if n in keeps else v).requires_grad_() for n, v in values.items()}
            loss = task.loss(lambda x, seen=seen: functional_call(model, seen, (x,)), batch)
            dense = dict(zip(seen, torch.autograd.grad(loss, list(seen.values())), strict=True))
            for n, value in values.items():
                gradient = dense[n] * keeps[n] if n in keeps else dense[n]
                speed[n] = train.optimizer.momentum * speed[n] + gradient
                values[n] = value - train.optimizer.lr * (gradient + train.optimizer.momentum * speed[n])
            for n in keeps:
                mean[n] = 0.9 * mean[n] + 0.1 * dense[n]
            if step % rule.every == 0 and step < end:
                alpha = rule.fraction / 2 * (1 + math.cos(math.pi * step / end))
                new = (rigl_by_hand if isinstance(rule, rigl) else snfs_by_hand)(
                    values, keeps, dense if isinstance(rule, rigl) else mean, alpha
                )
                for n in keeps:
                    changed = new[n] != keeps[n]
                    values[n][changed], speed[n][changed] = 0.0, 0.0
                keeps = new
    return values, keeps


def drop_by_hand(value, keep, count):
    live = sorted((abs(value.flatten()[i].item()), i) for i in range(keep.numel()) if keep.flatten()[i])
    keep = keep.clone()
    for _, i in live[:count]:
        keep.view(-1)[i] = False
    return keep


def grow_by_hand(gradient, keep, count):
    dead = sorted((-abs(gradient.flatten()[i].item()), i) for i in range(keep.numel()) if not keep.flatten()[i])
    keep = keep.clone()
    for _, i in dead[:count]:
        keep.view(-1)[i] = True
    return keep


def rigl_by_hand(values, keeps, dense, alpha):
    new = {}
    for n, keep in keeps.items():
        count = math.floor(alpha * int(keep.sum()))
        new[n] = grow_by_hand(dense[n], drop_by_hand(values[n], keep, count), count)
    return new


def snfs_by_hand(values, keeps, mean, alpha):
    share = {n: mean[n][keep].abs().mean().item() for n, keep in keeps.items()}
    gone = {n: min(math.ceil(alpha * int(keep.sum())), int(keep.sum()) - 1) for n, keep in keeps.items()}
    total = sum(gone.values())
    exact = {n: total * s / sum(share.values()) for n, s in share.items()}
    count = {n: math.floor(e) for n, e in exact.items()}
    for n in sorted(exact, key=lambda n: count[n] - exact[n])[: total - sum(count.values())]:
        count[n] += 1
    return {n: grow_by_hand(mean[n], drop_by_hand(values[n], k, gone[n]), count[n]) for n, k in keeps.items()}


@pytest.mark.parametrize("rule", [rigl(every=2, until=1.0), snfs(every=3)], ids=lambda rule: type(rule).__name__)
def test_training_is_that_of_a_loop_from_the_paper(rule):
    model = mlp(64, 24, 16, 4)
    task = small(model)
    masked = Regrow(0.8, rule, uniform())(model, task)
    names = {name: f"{name.split('.')[0]}.weight" for name in masks(masked)}
    keeps = {names[name]: mask.keep.clone() for name, mask in masks(masked).items()}
    start = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in under(masked).items():
            start.get_parameter(names[name]).copy_(weight)
    train = Train(epochs=2, batch_size=8, optimizer=sgd(lr=0.1, schedule=constant))
    trained = train.edit(masked, task)
    values, wanted = twin(start, keeps, task, train, rule)
    assert any(not wanted[n].equal(keeps[n]) for n in keeps)
    for name, mask in masks(trained).items():
        assert mask.keep.equal(wanted[names[name]])
        torch.testing.assert_close(under(trained)[name], values[names[name]])


def test_pieces_of_a_step_are_summed():
    found = []
    for accumulate in (1, 3):
        model = mlp(64, 24, 4)
        task = dataclasses.replace(small(model), fit=Fit(precision="no", accumulate=accumulate))
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) / 8)
        recipe = [Regrow(0.7, rigl(every=2), uniform()), Train(epochs=2, batch_size=8, optimizer=sgd(lr=0.05))]
        trained = run(recipe, model, task)
        found.append(torch.cat([mask.keep.flatten() for mask in masks(trained).values()]))
    assert found[0].equal(found[1])


@pytest.mark.parametrize("rule", [rigl(every=3), snfs(every=3), set_(every=3)], ids=lambda rule: type(rule).__name__)
def test_a_killed_run_goes_on_bit_for_bit(rule, tmp_path):
    task = dataclasses.replace(small(tiny.tiny_cnn()), fit=Fit(precision="no", checkpoint_seconds=0))
    recipe = [Regrow(0.8, rule), Train(epochs=2, batch_size=8, optimizer=sgd(lr=0.05))]
    calls, dies = [], []

    def mortal(forward, batch):
        calls.append(1)
        if len(calls) in dies:
            raise KeyboardInterrupt
        return cross_entropy(forward, batch)

    task = dataclasses.replace(task, loss=mortal)
    whole = run(recipe, task.model, task)
    calls.clear()
    # In steps 3 (an update is due in it), 5, 7, and 11, when RigL's updates are over.
    dies += [3, 6, 9, 14]
    store = Store(tmp_path)
    for _ in range(len(dies)):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, task.model, task, store)
    got = run(recipe, task.model, task, store)
    assert len(calls) == 12 + len(dies), "no step was repeated but those that died"
    assert all(value.equal(got.state_dict()[name]) for name, value in whole.state_dict().items())
    loaded = run(recipe, task.model, task, store)
    assert all(value.equal(loaded.state_dict()[name]) for name, value in whole.state_dict().items())


def step_by_hand(model, optimizer, number, scale=1.0, skip=False):
    """One step on chance data; ``skip`` leaves out the optimizer's part, as a scaler does after an overflow."""
    optimizer.zero_grad()
    x = torch.randn(8, 64, generator=torch.Generator().manual_seed(number))
    (model(x).square().mean() * scale).backward()
    if not skip:
        optimizer.step()
    for module in list(model.modules()):
        if isinstance(module, Regrowth):
            module.after_step(Progress(number, 20, optimizer, torch.tensor(scale)))


@pytest.mark.parametrize("rule", [rigl(every=2), snfs(every=3)], ids=lambda rule: type(rule).__name__)
def test_half_precisions_scale_changes_no_choice(rule):
    """The scale changes on the way; the optimizer sees gradients unscaled there, and here stands still."""
    start = Regrow(0.8, rule, uniform())(mlp(64, 24, 16, 4), small(mlp(64, 4)))
    found = []
    for scales in ((1.0,) * 7, (65536.0, 65536.0, 4.0, 4.0, 4.0, 2.0**20, 1.0)):
        model = copy.deepcopy(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-30)
        for number, scale in enumerate(scales, 1):
            step_by_hand(model, optimizer, number, scale=scale)
        found.append(torch.cat([mask.keep.flatten() for mask in masks(model).values()]))
    assert found[0].equal(found[1])
    assert not found[0].equal(torch.cat([mask.keep.flatten() for mask in masks(start).values()]))


def test_an_update_waits_where_a_gradient_is_no_number():
    model = Regrow(0.8, rigl(every=3), uniform())(mlp(64, 24, 4), small(mlp(64, 4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    start = [mask.keep.clone() for mask in masks(model).values()]

    def moved():
        return any(not mask.keep.equal(old) for mask, old in zip(masks(model).values(), start, strict=True))

    for number in (1, 2):
        step_by_hand(model, optimizer, number)
    step_by_hand(model, optimizer, 3, scale=math.inf, skip=True)
    assert not moved()
    assert all(mask.hears for mask in masks(model).values())
    step_by_hand(model, optimizer, 4)
    assert moved()
    assert not any(mask.hears for mask in masks(model).values())


def test_momentum_leaves_out_what_is_no_number():
    model = Regrow(0.8, snfs(every=9), uniform())(mlp(64, 24, 4), small(mlp(64, 4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    plan = next(m for m in model.modules() if isinstance(m, Regrowth))
    step_by_hand(model, optimizer, 1)
    before = plan.mean0.clone()
    step_by_hand(model, optimizer, 2, scale=math.inf, skip=True)
    assert plan.mean0.equal(before)
    assert before.abs().sum() > 0


def test_frozen_weights_keep_their_masks():
    model = Regrow(0.8, set_(every=1), uniform())(mlp(64, 24, 24, 4), small(mlp(64, 4)))
    still, moving = masks(model).values()
    model[3].parametrizations.weight.original.requires_grad_(False)
    kept = still.keep.clone(), moving.keep.clone()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for number in range(1, 4):
        step_by_hand(model, optimizer, number)
    assert still.keep.equal(kept[0])
    assert not moving.keep.equal(kept[1])


def test_a_training_in_which_nothing_would_move_is_an_error():
    task = small(mlp(64, 8, 4))
    model = Regrow(0.5, rigl(every=100), uniform())(task.model, task)
    said = r"rigl\(every=100.*would change no mask: the training has 6 steps.*before step 4\.5\. Give every=1 or so"
    with pytest.raises(TrainingError, match=said):
        Train(epochs=1, batch_size=8).edit(model, task)


@pytest.mark.slow
def test_two_processes_choose_as_one(tmp_path):
    script, environment = str(Path(__file__).with_name("crew.py")), {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command, name in (([sys.executable], "one"), (torchrun, "two")):
        ended = subprocess.run(
            [*command, script, str(tmp_path / name)], env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
    alone, first, second = (load_state(tmp_path / name) for name in ("one-0", "two-0", "two-1"))
    assert alone.keys() == first.keys()
    for name, value in first.items():
        assert value.equal(second[name]), f"the processes disagree on {name}"
        if name.endswith("keep"):
            assert value.equal(alone[name]), f"two processes chose otherwise than one for {name}"
        elif value.is_floating_point():
            torch.testing.assert_close(value, alone[name])


@pytest.mark.parametrize("block", [(1, 1), (2, 1)])
def test_signs_reach_the_rule(block):
    """Positive weights are far smaller than negative ones: were signs lost, SET would drop those alone."""
    model = Regrow(0.5, set_(every=1), uniform(), block)(mlp(64, 24, 24, 4), small(mlp(64, 4)))
    rows = torch.arange(24) // 2 % 2 == 0
    with torch.no_grad():
        weight, keep = under(model)["3.parametrizations.weight.0"], masks(model)["3.parametrizations.weight.0"].keep
        weight.copy_(torch.where(rows[:, None], 0.001, -1.0) * keep)
    before = keep.clone()
    step_by_hand(model, torch.optim.SGD(model.parameters(), lr=0.0), 1)
    after = masks(model)["3.parametrizations.weight.0"].keep
    for side in (rows, ~rows):
        gone = (before & ~after)[side].sum() / before[side].sum()
        assert 0.1 < gone <= 0.3


def test_a_tied_weight_hears_both_its_places():
    model = mlp(64, 6, 6, 6, 4)
    model[5].weight = model[3].weight
    model = Regrow(0.5, snfs(every=9), uniform())(model, small(model))
    plan = next(m for m in model.modules() if isinstance(m, Regrowth))
    keep = model[3].parametrizations.weight[0].keep.clone()
    leaf = torch.where(keep, model[3].parametrizations.weight.original.detach(), 0).requires_grad_()
    x = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    hidden = torch.tanh(model[1](x.flatten(1)))
    for place in (3, 5):
        hidden = torch.tanh(hidden @ leaf.T + model[place].bias)
    (wanted,) = torch.autograd.grad(model[7](hidden).square().mean(), leaf)
    step_by_hand(model, torch.optim.SGD(model.parameters(), lr=0.0), 1)
    torch.testing.assert_close(plan.mean0, 0.1 * wanted)
