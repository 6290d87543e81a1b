import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.distributions.sensitivity import sensitivity
from flyweight.compress.prune.plan import Plan
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.constant import constant
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.scores.momentum import momentum
from flyweight.compress.prune.scores.movement import movement
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.core.errors import ExportError, UnsupportedError
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.core.weights import load_state
from flyweight.deploy.export.onnx import export_onnx
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.progress import Progress
from flyweight.learn.train import Train
from nets import masks, plain_task, random_net

TRAIN = Train(epochs=2, optimizer=adam(lr=1e-2), batch_size=64)  # 16 steps


def plans(model):
    return list({id(m): m for m in model.modules() if isinstance(m, Plan)}.values())


def gone(model):
    return sum(int((~mask.keep).sum()) for mask in masks(model))


def watched(task, see):
    return dataclasses.replace(task, fit=Fit(after_step=(see,)))


def test_the_ratio_rises_as_zhu_and_gupta_say_and_is_exact_at_the_end(tiny_task):
    told = []
    step = Prune(0.8, schedule=cubic(begin=0.25, end=0.75, every=0.125))
    model = step(tiny_task.model, tiny_task)
    (plan,) = plans(model)
    assert plan.pending
    assert gone(model) == 0
    task = watched(tiny_task, lambda progress: told.append((progress.step, gone(model))))
    TRAIN.edit(model, task)
    share = {4: 0, 6: 0.25, 8: 0.5, 10: 0.75, 12: 1.0}
    for number, count in told:
        done = max((value for at, value in share.items() if at <= number), default=0)
        assert count == round(1408 * 0.8 * (1 - (1 - done) ** 3)), number
    assert not plan.pending


def test_constant_takes_equal_parts_beyond_what_was_gone(tiny_task):
    told = []
    model = Prune(0.2)(tiny_task.model, tiny_task)
    model = Prune(0.8, schedule=constant(end=1.0, every=0.25))(model, tiny_task)
    TRAIN.edit(model, watched(tiny_task, lambda progress: told.append(gone(model))))
    assert told[3::4] == [round(1408 * ratio) for ratio in (0.35, 0.5, 0.65, 0.8)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.floats(0, 0.97),
    st.sampled_from([cubic, constant]),
    st.tuples(st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.01, 1)),
    st.sampled_from([(1, 1), (2, 1)]),
)
def test_any_schedule_ends_at_the_ratio_and_never_empties_a_layer(widths, ratio, kind, when, tile):
    begin, length, every = when
    schedule = kind(begin=begin, end=min(1.0, begin + length), every=every)
    model = random_net(widths)
    model = Prune(ratio, structure=block(*tile), schedule=schedule).edit(model, plain_task(model))
    (plan,) = plans(model)
    last = 0
    for step in range(1, 12):
        plan.after_step(Progress(step, 11, torch.optim.SGD(model.parameters(), lr=0.1)))
        assert gone(model) >= last
        assert all(bool(mask.keep.any()) for mask in masks(model))
        last = gone(model)
    total = sum(mask.keep.numel() for mask in masks(model))
    most = sum(int(pool.parameters.sum() - pool.parameters.max()) for pool in plan.pools)
    size = tile[0] * tile[1]
    assert min(most, ratio * total) - size / 2 - 1e-6 <= last <= ratio * total + size / 2 + 1e-6
    assert not plan.pending


def test_once_done_it_is_done_also_when_loaded(tiny_task):
    recipe = [Prune(0.5, schedule=cubic(every=0.1)), TRAIN]
    model = run(recipe, tiny_task.model, tiny_task)
    keep = [mask.keep.clone() for mask in masks(model)]
    assert not any(mask.hears for mask in masks(model))
    again = recipe[0].replay(copy.deepcopy(tiny_task.model), tiny_task, model.state_dict())
    assert plans(again)[0].pending
    again.load_state_dict(model.state_dict())
    for one in (model, again):
        TRAIN.edit(one, tiny_task)
        assert all(torch.equal(mask.keep, before) for mask, before in zip(masks(one), keep, strict=True))
        assert not plans(one)[0].pending
    state, other = model.state_dict(), again.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize(
    ("score", "structure"),
    [(movement(), channel()), (movement(), block(1, 1)), (momentum(), block(1, 1)), (taylor(), block(1, 1))],
    ids=str,
)
def test_a_training_that_is_killed_and_goes_on_ends_bit_for_bit_alike(score, structure, fresh_task, tmp_path):
    recipe = [Prune(0.7, score=score, structure=structure, schedule=cubic(begin=0.25, every=0.25)), TRAIN]
    fit = Fit(device="cpu", precision="no", checkpoint_seconds=0)
    task = dataclasses.replace(fresh_task, fit=fit)
    whole = run(recipe, task.model, task).state_dict()

    def kill(progress):
        if progress.step == 7:
            raise KeyboardInterrupt

    killed = dataclasses.replace(task, fit=dataclasses.replace(fit, after_step=(kill,)))
    # The task's key covers the fit, and the checkpoint lies under it: one folder, one key, another fit.
    with Store(tmp_path).working("k"):
        model = recipe[0](task.model, task)
        with pytest.raises(KeyboardInterrupt):
            TRAIN.edit(model, killed)
        model = TRAIN.edit(recipe[0](task.model, task), task)
    resumed = model.state_dict()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


class Told:
    """A score that keeps what evidence it is asked on."""

    needs = ("gradient", "movement", "momentum")
    reads = "weight"

    def __init__(self):
        self.seen = []

    def __call__(self, evidence):
        self.seen.append(evidence)
        return evidence.weight.abs()


def linear_run(scale=None, steps=6):
    """Steps on a linear layer with the evidence of each update, and each step's weight and dense gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    score = Told()
    from flyweight.compress.prune.distributions.uniform import uniform
    from flyweight.compress.prune.structures.element import element

    pools = element()(model, plain_task(model, torch.zeros(1, 3)), ())
    Plan(model, pools, 0.5, score, uniform(), cubic(end=1.0, every=0.5))
    (plan,) = plans(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    heard = []
    for step in range(1, steps + 1):
        x = torch.randn(5, 3)
        hidden = model[0](x).detach()
        weight = model[1].weight.detach().clone()
        loss = (model(x) * torch.tensor([1.0, -2.0])).sum()
        (loss * (scale or 1)).backward()
        heard.append((weight, torch.outer(torch.tensor([1.0, -2.0]), hidden.sum(0))))
        if scale:
            for parameter in model.parameters():
                parameter.grad /= scale
        optimizer.step()
        optimizer.zero_grad()
        plan.after_step(Progress(step, steps, optimizer, None if scale is None else torch.tensor(float(scale))))
    return model, score.seen, heard, optimizer


@pytest.mark.parametrize("scale", [None, 1024])
def test_evidence_is_what_a_naive_observer_sees(scale):
    _, seen, heard, _ = linear_run(scale)
    assert len(seen) == 2
    for evidence, until, since in ((seen[0], 3, 0), (seen[1], 6, 3)):
        gradients = [g for _, g in heard]
        assert torch.allclose(evidence.gradient, sum(gradients[since:until]) / 3, atol=1e-4)
        moved = -sum(w * g for w, g in heard[:until])
        assert torch.allclose(evidence.movement, moved, atol=1e-3)
        mean = torch.zeros(2, 4)
        for gradient in gradients[:until]:
            mean = 0.9 * mean + 0.1 * gradient
        assert torch.allclose(evidence.momentum, mean, atol=1e-4)


def test_what_is_gone_is_gone_from_the_optimizer_too():
    model, _, _, optimizer = linear_run()
    (mask,) = masks(model)
    state = optimizer.state[model[1].parametrizations.weight.original]["momentum_buffer"]
    assert bool((state[~mask.keep] == 0).all())
    assert bool((state[mask.keep] != 0).all())
    original = model[1].parametrizations.weight.original.detach().clone()
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    assert torch.equal(original[~mask.keep], model[1].parametrizations.weight.original[~mask.keep])


def test_a_gradient_that_is_no_number_does_not_count():
    model = random_net([3, 2])
    model = Prune(0.5, score=taylor(), schedule=cubic(end=1.0, every=1.0)).edit(model, plain_task(model))
    (plan,) = plans(model)
    (mask,) = masks(model)
    mask.heard = torch.full((2, 3), torch.inf)
    plan.after_step(Progress(1, 2, torch.optim.SGD(model.parameters(), lr=0.1)))
    assert torch.equal(plan.gradient0, torch.zeros(2, 3))


def test_processes_agree_on_the_mean_of_what_they_heard(monkeypatch):
    model = random_net([3, 2])
    model = Prune(0.5, score=taylor(), schedule=cubic(end=1.0, every=1.0)).edit(model, plain_task(model))
    (plan,) = plans(model)
    (mask,) = masks(model)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(3.0))
    mask.heard = torch.ones(2, 3)
    plan.after_step(Progress(1, 2, torch.optim.SGD(model.parameters(), lr=0.1)))
    assert torch.equal(plan.gradient0, torch.full((2, 3), 2.0))


def test_it_hears_only_where_it_has_to(tiny_task):
    heard = []
    step = Prune(0.5, score=taylor(), schedule=cubic(begin=0.5, end=0.75, every=0.1))
    model = step(tiny_task.model, tiny_task)
    TRAIN.edit(model, watched(tiny_task, lambda progress: heard.append(masks(model)[0].hears)))
    assert heard == [False] * 7 + [True] * 4 + [False] * 5
    assert masks(model)[0].heard is None
    assert not any(mask.hears for mask in masks(Prune(0.5, schedule=cubic())(tiny_task.model, tiny_task)))


def test_sensitivity_is_measured_before_training_and_carried_out_in_it(tiny_task):
    step = Prune(0.5, distribution=sensitivity(), schedule=cubic(every=0.1))
    model = step(tiny_task.model, tiny_task)
    at_once = Prune(0.5, distribution=sensitivity())(tiny_task.model, tiny_task)
    wanted = [int((~mask.keep).sum()) for mask in masks(at_once)]
    (plan,) = plans(model)
    assert plan.lose.tolist() == wanted
    again = step.replay(copy.deepcopy(tiny_task.model), tiny_task, model.state_dict())
    again.load_state_dict(model.state_dict())
    for one in (model, again):
        TRAIN.edit(one, tiny_task)
        assert [int((~mask.keep).sum()) for mask in masks(one)] == wanted


def test_a_plan_still_to_be_trained_bars_another(tiny_task):
    pending = Prune(0.5, schedule=cubic())(tiny_task.model, tiny_task)
    for step in (Prune(0.6), Prune(0.6, schedule=constant(), distribution=global_())):
        with pytest.raises(
            UnsupportedError,
            match=r"'4' is under Plan\(ratio=0.5, .*\), which a training has yet to carry out. Take Train\(epochs=…\)",
        ):
            step(pending, tiny_task)
    trained = Train(epochs=1, optimizer=sgd(lr=0.01)).edit(pending, tiny_task)
    both = run([Prune(0.7, schedule=constant(every=0.5)), TRAIN], trained, tiny_task)
    assert gone(both) == round(0.7 * 1408)
    assert [name for name, _ in masks(both)[0].named_children()] == ["plan", "plan1"]


def test_a_state_and_a_picture_of_the_model_stay_finite(tiny_task):
    model = Prune(0.5, schedule=cubic())(tiny_task.model, tiny_task)
    names = [name for name in model.state_dict() if name.endswith("plan.over")]
    assert len(names) == len(masks(model)) == 2
    assert repr(model) == repr(copy.deepcopy(model))
    assert plans(copy.deepcopy(model))[0].pools[0].masks[0] is not masks(model)[0]


@pytest.mark.slow
def test_two_processes_prune_alike_and_as_one_does(tmp_path):
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here.parents[1]), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launch in (("one", []), ("two", torchrun)):
        done = subprocess.run(
            [sys.executable, *launch, str(here / "crew.py"), str(tmp_path / name)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    alone, first, second = (load_state(tmp_path / name) for name in ("one-0", "two-0", "two-1"))
    assert all(value.equal(second[name]) for name, value in first.items())
    # Batch-norm sees half a batch in each process, so a few choices are others than those of one alone.
    assert first.keys() == alone.keys()
    for kind in ("movement", "channels", "ticket", "rounds"):
        kept = [
            sum(int(v.sum()) for n, v in s.items() if n.startswith(kind) and n.endswith("keep")) for s in (first, alone)
        ]
        assert kept[0] == kept[1] > 0


def test_units_that_count_alike_all_go_in_training_too(tiny_task):
    sizes = ((64, 32), (32, 4), (4, 16), (16, 4))
    model = nn.Sequential(nn.Flatten(), *(part for a, b in sizes for part in (nn.Linear(a, b), nn.ReLU())))[:-1].eval()
    with torch.no_grad():
        model[1].weight.mul_(0.01)  # the largest neurons go first: of parameters, more than was asked of neurons
    step = Prune(0.7, structure=channel(), distribution=global_(of="units"), schedule=cubic(every=0.1, end=1.0))
    task = dataclasses.replace(tiny_task, model=model, fit=Fit(precision="no"))
    pruned = run((step, Train(1, adam(1e-5))), model, task)
    assert sum(int((~pool.kept).sum()) for pool in step.structure(pruned, task, ())) == round(0.7 * 52)


def test_a_shared_weight_is_heard_wherever_it_stands(tiny_task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[5].weight = model[3].weight
    whole = tiny_task.data.train.tensors[0][:8]
    wanted = torch.autograd.grad(model(whole).square().sum(), model[3].weight)[0]
    pruned = Prune(0.5, score=taylor(), schedule=cubic(every=1.0, end=1.0))(model, tiny_task)
    pruned(whole).square().sum().backward()
    (plan,) = plans(pruned)
    plan.after_step(Progress(1, 4, torch.optim.SGD(pruned.parameters(), 0.0)))
    torch.testing.assert_close(plan.gradient0, wanted)


def test_what_a_training_has_yet_to_prune_is_no_file(tiny_task, tmp_path):
    for structure in (element(), channel()):
        model = Prune(0.5, structure=structure, schedule=cubic())(tiny_task.model, tiny_task)
        with pytest.raises(ExportError, match=r"is not pruned yet: Plan\(ratio=0.5, .*Take Train\(epochs=…\) after"):
            export_onnx(model, tiny_task, tmp_path / "model.onnx")
