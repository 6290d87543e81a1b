"""Tickets: exact ratios, weights that are those of the start bit for bit, a control under the same masks, resuming."""

import dataclasses

import pytest
import torch

from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.lottery import LotteryTicket
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.layer import layer
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.recipe import run
from flyweight.core.store import Store
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import sgd
from flyweight.learn.train import Train
from flyweight.surgery.mask import Mask
from flyweight.surgery.skip import Skip
from flyweight.testing.check_step import check_step

TRAIN = Train(epochs=1, batch_size=128, optimizer=sgd(lr=0.05))


@dataclasses.dataclass(frozen=True)
class Noted(Fit):
    """The training loop, which writes down what each training starts from and ends with."""

    def __call__(self, model, task, train, start=0, stop=None):
        NOTES.append([(start, stop), snapshot(model), None])
        trained = super().__call__(model, task, train, start, stop)
        NOTES[-1][2] = snapshot(trained)
        return trained


NOTES: list = []


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def masks(state):
    return {name: value for name, value in state.items() if name.endswith(".keep")}


def plain(state):
    """Without masks, under the names of a model without them."""
    return {n.replace("parametrizations.weight.original", "weight"): v for n, v in state.items() if ".keep" not in n}


def same(one, other):
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


@pytest.fixture
def task(fresh_task):
    NOTES.clear()
    return dataclasses.replace(fresh_task, fit=Noted(precision="no", checkpoint_seconds=0))


def test_each_round_takes_its_part_and_starts_from_the_first_weights(task):
    step = LotteryTicket(0.875, TRAIN, rounds=3)
    assert step.ratios() == pytest.approx((0.5, 0.75, 0.875))
    model = run([step], task.model, task)
    assert len(NOTES) == 4
    start = task.model.state_dict()
    total = 16 * 8 * 9 + 4 * 64
    for number, (_, begun, _) in enumerate(NOTES):
        assert same(plain(begun), start), "rewound bit for bit, batch-norm's statistics too"
        kept = sum(int(keep.sum()) for keep in masks(begun).values())
        assert kept == round(total * 0.5**number)
        if number:
            before = masks(NOTES[number - 1][1])
            assert all(bool((before[name] | ~keep).all()) for name, keep in masks(begun).items()), "none comes back"
    assert same(snapshot(model), NOTES[-1][2]), "the result is the trained ticket"


def test_what_goes_is_the_least_of_what_was_trained(task):
    run([LotteryTicket(0.6, TRAIN, rounds=2, by=Prune(0.0, distribution=uniform()))], task.model, task)
    for number in (0, 1):
        trained, after = NOTES[number][2], masks(NOTES[number + 1][1])
        for name, keep in after.items():
            weight = trained[name.replace(".0.keep", ".original")].abs()
            live = masks(trained)[name]
            gone = live & ~keep
            assert weight[gone].max() <= weight[keep].min()


@pytest.mark.parametrize("rewind", [1, 4, 6])  # of four steps an epoch
def test_rewinding_to_a_step_trains_what_came_before_once(task, rewind):
    train = dataclasses.replace(TRAIN, epochs=3)
    run([LotteryTicket(0.75, train, rounds=2, rewind=rewind)], task.model, task)
    assert [note[0] for note in NOTES] == [(0, rewind), *3 * [(rewind, None)]]
    early = plain(NOTES[0][2])
    assert not same(early, task.model.state_dict())
    for _, begun, _ in NOTES[1:]:
        assert same(plain(begun), early)
    kept = [sum(int(keep.sum()) for keep in masks(begun).values()) for _, begun, _ in NOTES]
    assert kept == [1408, 1408, 704, 352]


def test_a_ticket_of_everything_is_the_training_whose_optimizer_forgets(fresh_task):
    def forget(progress):
        if progress.step == 3:
            progress.optimizer.state.clear()

    train = dataclasses.replace(TRAIN, epochs=2)
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    ticket = run([LotteryTicket(0.0, train, rewind=3)], task.model, task)
    wanted = train(task.model, dataclasses.replace(task, fit=Fit(precision="no", after_step=(forget,))))
    assert same(plain(ticket.state_dict()), snapshot(wanted))


@pytest.mark.parametrize("rewind", [0, 3])
def test_the_control_has_the_masks_and_other_weights(task, rewind):
    step = LotteryTicket(0.75, dataclasses.replace(TRAIN, epochs=2), rounds=1, rewind=rewind)
    ticket = run([step], task.model, task)
    control = run([dataclasses.replace(step, control=True)], task.model, task)
    assert same(masks(ticket.state_dict()), masks(control.state_dict()))
    taken, begun, _ = NOTES[-1]
    assert taken == (0, None), "chance stands at the beginning, whatever the ticket goes back to"
    start = task.model.state_dict()
    for name, value in plain(begun).items():
        assert value.flatten().sort().values.equal(start[name].flatten().sort().values), "a draw from the same values"
        if value.unique().numel() > 1:
            assert not value.equal(start[name])


@pytest.mark.parametrize(
    ("seconds", "fatal", "lost"),
    # Every step kept: those that died are repeated. None kept: the round that died begins again, and no other.
    [(0, (3, 8, 14, 19), 4), (0, (1, 4, 5, 10, 11), 5), (1000, (11, 18), 4 + 1)],
)
def test_a_killed_search_repeats_no_finished_round(fresh_task, tmp_path, seconds, fatal, lost):
    fit = Fit(precision="no", checkpoint_seconds=seconds)
    step, calls = LotteryTicket(0.75, dataclasses.replace(TRAIN, epochs=2), rounds=2, rewind=3), []
    wanted = run([step], fresh_task.model, dataclasses.replace(fresh_task, fit=fit))

    def mortal(forward, batch):
        calls.append(1)
        if len(calls) in fatal:
            raise KeyboardInterrupt
        return fresh_task.loss(forward, batch)

    task, store = dataclasses.replace(fresh_task, loss=mortal, fit=fit), Store(tmp_path)
    for _ in fatal:
        with pytest.raises(KeyboardInterrupt):
            run([step], task.model, task, store)
    got = run([step], task.model, task, store)
    assert len(calls) == 3 + 3 * 5 + lost, "what came before once, then three trainings of what remains of eight steps"
    assert same(snapshot(got), snapshot(wanted))
    assert same(snapshot(run([step], task.model, task, store)), snapshot(wanted))
    assert len(calls) == 3 + 3 * 5 + lost


def test_rounds_of_a_fifth():
    assert [len(LotteryTicket(ratio, TRAIN).ratios()) for ratio in (0.0, 0.2, 0.36, 0.5, 0.9)] == [0, 1, 2, 4, 11]
    ratios = LotteryTicket(0.9, TRAIN).ratios()
    steps = [(b - a) / (1 - a) for a, b in zip((0.0, *ratios), ratios, strict=False)]
    assert max(steps) <= 0.2 + 1e-9
    assert max(steps) - min(steps) < 1e-9
    assert ratios[-1] == 0.9


@pytest.mark.parametrize("by", [Prune(0.0), Prune(0.0, structure=block(2, 1), exclude=("9",))])
def test_the_contract(fresh_task, by):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    idle = LotteryTicket(0.0, Train(epochs=0), by=by)
    check_step(LotteryTicket(0.5, TRAIN, rounds=2, by=by), task, identity=idle)


def test_a_ticket_is_quantized_with_its_zeros(fresh_task):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    model = run([LotteryTicket(0.8, TRAIN, rounds=1), Quantize(bits=8)], task.model, task)
    found = [m for m in model.modules() if isinstance(m, Mask)]
    assert sum(int(mask.keep.sum()) for mask in found) == round(0.2 * sum(mask.keep.numel() for mask in found))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LotteryTicket(1.0, TRAIN), r"ratio=1\.0 is no fraction"),
        (lambda: LotteryTicket(0.5, 3), r"LotteryTicket got train=3\. .*train=Train\(epochs=10\)"),
        (lambda: LotteryTicket(0.5, TRAIN, rounds=0), r"got rounds=0\. .*or None: rounds of 20 %"),
        (lambda: LotteryTicket(0.5, TRAIN, rewind=-1), r"got rewind=-1\. Give an optimizer step .*rewind=500, or 0"),
        (lambda: LotteryTicket(0.5, TRAIN, rewind=0.5), r"got rewind=0\.5"),
        (lambda: LotteryTicket(0.5, TRAIN, by=Prune(0.0, schedule=cubic())), r"got by=.*that prunes at once"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(FlyweightError, match=message):
        make()


@pytest.mark.parametrize("rewind", [8, 500])
def test_a_step_that_the_training_has_not_is_refused_before_any(task, rewind):
    step = LotteryTicket(0.5, dataclasses.replace(TRAIN, epochs=2), rewind=rewind)
    told = rf"got rewind={rewind}\. Its training has 8 optimizer steps: 2 epochs of 4 \(\d+ examples of task .*, 128 a"
    with pytest.raises(FlyweightError, match=told):
        run([step], task.model, task)
    assert NOTES == []


def test_a_loop_that_cannot_begin_at_a_step_is_refused_before_any_training(fresh_task):
    def own(model, task, train):
        raise AssertionError

    task = dataclasses.replace(fresh_task, fit=own)
    with pytest.raises(UnsupportedError, match=r"fit=.*own.* takes \(model, task, train\) alone.*rewind=0"):
        run([LotteryTicket(0.5, TRAIN, rewind=1)], task.model, task)


def test_the_order_of_chance_is_its_seeds(fresh_task):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    ends = []
    for seed in (0, 0, 1):
        train = Train(epochs=0, seed=seed)
        ends.append(run([LotteryTicket(0.0, train, control=True)], task.model, task).state_dict())
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])
    assert torch.equal(ends[0]["1.running_mean"], task.model[1].running_mean)


def test_layers_that_stay_go_back_to_their_start_too(task):
    class Added(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return x + self.conv(x)

    model = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 4, 3), Added(), Added(), Added()),
        *(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 4)),
    ).eval()
    task = dataclasses.replace(task, model=model)
    step = LotteryTicket(0.34, TRAIN, rounds=1, by=Prune(0.0, structure=layer()))
    ticket = step(model, task)
    begun = {name.replace("inner.", ""): value for name, value in NOTES[-1][1].items() if not name.endswith(".keep")}
    assert same(begun, snapshot(model))
    assert sum(not module.kept for module in ticket.modules() if isinstance(module, Skip)) == 1
