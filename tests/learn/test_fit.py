"""The training loop: against a loop by hand, and what it promises about model, process and errors."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import FlyweightError, TaskError, TrainingError
from flyweight.core.key import task_key
from flyweight.core.store import Store
from flyweight.core.task import batches
from flyweight.core.weights import load_state
from flyweight.learn.feed import Feed
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam, sgd
from flyweight.learn.train import Train
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy

HERE = Path(__file__).parent
FLOAT = Fit(precision="no")


class Listed(Dataset):
    """A TensorDataset that does not say so."""

    def __init__(self, inside):
        self.inside = inside

    def __len__(self):
        return len(self.inside)

    def __getitem__(self, index):
        return self.inside[index]


def with_train(task, dataset, **more):
    return dataclasses.replace(task, data=dataclasses.replace(task.data, train=dataset), **more)


def perceptron(task, count=50):
    """A task without batch-norm, of ``count`` examples."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 4))
    small = TensorDataset(*(t[:count] for t in task.data.train.tensors))
    return with_train(dataclasses.replace(task, model=model), small, fit=FLOAT)


def same(one, other):
    return all(value.equal(other.state_dict()[name]) for name, value in one.state_dict().items())


def test_it_learns(fresh_task):
    before = accuracy(fresh_task.model.eval(), batches(fresh_task.data.select))
    train = Train(epochs=8, optimizer=adam(lr=5e-3), batch_size=64)
    after = accuracy(train(fresh_task.model, fresh_task), batches(fresh_task.data.select))
    assert after > max(before + 0.3, 0.7)


def test_it_does_what_a_loop_by_hand_does(tiny_task):
    task = perceptron(tiny_task)
    train = Train(epochs=2, optimizer=adam(lr=0.01, weight_decay=0.1, warmup=0.2, clip=0.5), batch_size=16, seed=4)
    ours = train(task.model, task)
    theirs = copy.deepcopy(task.model).train()
    decayed = {"params": [theirs[1].weight, theirs[3].weight], "weight_decay": 0.1}
    plain = {"params": [theirs[1].bias, theirs[3].bias], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, plain], lr=0.01)
    x, y = task.data.train.tensors
    done = 0
    for epoch in range(2):
        order = torch.cat(
            [p[0][1] for p in Feed(task.data.train, 16, torch.device("cpu"), 4, (1, 0, 1), 0).epoch(epoch)]
        )
        for part in order.split(16):
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * train.optimizer.factor(done, 8)
            optimizer.zero_grad()
            nn.functional.cross_entropy(theirs(x[part]), y[part]).backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            optimizer.step()
            done += 1
    for got, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_pieces_add_up_to_the_whole_batch(tiny_task, pieces):
    task = perceptron(tiny_task)
    train = Train(epochs=2, optimizer=sgd(lr=0.1), batch_size=16)
    whole = train(task.model, task)
    cut = train(task.model, dataclasses.replace(task, fit=Fit(precision="no", accumulate=pieces)))
    for got, wanted in zip(cut.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_equal_runs_are_equal_bit_for_bit_and_leave_no_trace(fresh_task, precision):
    task = dataclasses.replace(fresh_task, fit=Fit(precision=precision))
    train = Train(epochs=1, optimizer=adam(lr=5e-3))
    generator = torch.get_rng_state()
    first = train(task.model, task)
    assert torch.get_rng_state().equal(generator)
    torch.rand(7)
    assert same(first, train(task.model, task))
    assert not same(first, dataclasses.replace(train, seed=1)(task.model, task))


def test_any_dataset_gives_the_same_as_its_tensors(fresh_task):
    task = dataclasses.replace(fresh_task, fit=FLOAT)
    train = Train(epochs=1)
    assert same(train(task.model, task), train(task.model, with_train(task, Listed(task.data.train))))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_model_comes_back_as_it_went(fresh_task, precision):
    model = fresh_task.model
    names, kinds = set(model.__dict__), [type(m) for m in model.modules()]
    after = Fit(precision=precision)(model, fresh_task, Train(epochs=1))
    assert after is model
    assert not after.training
    assert set(after.__dict__) == names
    assert [type(m) for m in after.modules()] == kinds
    assert after.forward.__func__ is nn.Sequential.forward
    for tensor in after.state_dict().values():
        assert tensor.device.type == "cpu"
        assert tensor.stride() == torch.empty(tensor.shape).stride()
    assert all(p.dtype == torch.float32 and p.grad is None for p in after.parameters())
    assert after(fresh_task.example[0]).dtype == torch.float32


def test_a_forward_of_the_models_own_is_put_back(fresh_task):
    model = fresh_task.model
    inside = model.forward
    model.forward = own = lambda x: inside(x) * 1.0
    assert Fit(precision="bf16")(model, fresh_task, Train(epochs=1)).forward is own


def test_one_process_may_mix_precisions_and_keeps_accelerates_state(fresh_task):
    from accelerate.state import AcceleratorState, PartialState

    PartialState._shared_state.clear()
    PartialState(cpu=True)
    before = dict(PartialState._shared_state)
    seen = []

    def loss(forward, batch):
        output = forward(batch[0])
        seen.append(AcceleratorState().mixed_precision)
        return nn.functional.cross_entropy(output, batch[1])

    task = dataclasses.replace(fresh_task, loss=loss)
    for precision in ("bf16", "no", "bf16"):
        Fit(precision=precision)(task.model, task, Train(epochs=1, batch_size=512))
    assert seen == ["bf16", "no", "bf16"]
    assert dict(PartialState._shared_state) == before
    assert AcceleratorState._shared_state == {}
    PartialState._shared_state.clear()


def test_bf16_is_near_float(fresh_task):
    train = Train(epochs=2, optimizer=adam(lr=5e-3))
    models = [train(fresh_task.model, dataclasses.replace(fresh_task, fit=Fit(precision=p))) for p in ("no", "bf16")]
    scores = [accuracy(model, batches(fresh_task.data.select)) for model in models]
    assert not same(*models)
    assert abs(scores[0] - scores[1]) < 0.1


class Watched(nn.Linear):
    def __init__(self, seen):
        super().__init__(64, 4)
        self.seen = seen

    def after_step(self, progress):
        lr = progress.optimizer.param_groups[0]["lr"]
        self.seen.append((progress.step, progress.total, progress.fraction, lr))


def test_modules_hear_of_every_step(tiny_task):
    seen = []
    model = nn.Sequential(nn.Flatten(), Watched(seen))
    task = perceptron(tiny_task, 40)
    Fit(precision="no", accumulate=2)(model, task, Train(epochs=2, batch_size=16, optimizer=sgd(lr=0.5)))
    assert [s[:2] for s in seen] == [(i, 6) for i in range(1, 7)]
    assert seen[-1][2] == 1.0
    assert seen[0][3] == 0.5
    assert seen[3][3] == pytest.approx(0.25)


def test_the_user_hears_of_every_step_after_the_modules(tiny_task):
    seen = []
    fit = Fit(precision="no", after_step=(lambda progress: seen.append(progress.step),))
    task = dataclasses.replace(perceptron(tiny_task, 40), fit=fit)
    before = task_key(task)
    fit(nn.Sequential(nn.Flatten(), Watched(seen)), task, Train(epochs=1, batch_size=16))
    assert [s if isinstance(s, int) else s[0] for s in seen] == [1, 1, 2, 2, 3, 3]
    assert isinstance(seen[1], int)
    assert task_key(dataclasses.replace(task)) == before, "what a callback collects is no other task"
    assert task_key(dataclasses.replace(task, fit=Fit(precision="no", after_step=(print,)))) != before


def test_augmentations_change_the_first_input_one_after_another(tiny_task):
    task = perceptron(tiny_task, 32)
    seen = []

    def loss(forward, batch):
        seen.append(batch[0])
        return nn.functional.cross_entropy(forward(batch[0]), batch[1])

    task = dataclasses.replace(task, loss=loss)
    Fit(precision="no")(task.model, task, Train(epochs=1, augment=(torch.zeros_like, torch.cos), batch_size=16))
    assert all(x.equal(torch.ones_like(x)) for x in seen)


def test_a_loss_that_is_no_number_names_epoch_and_step(tiny_task):
    task = perceptron(tiny_task, 48)
    calls = []

    def loss(forward, batch):
        calls.append(1)
        value = nn.functional.cross_entropy(forward(batch[0]), batch[1])
        return value * float("nan") if len(calls) == 5 else value

    with pytest.raises(TrainingError, match=r"is nan at epoch 2, step 2 of 3, with adam.*learning rate ten"):
        FLOAT(task.model, dataclasses.replace(task, loss=loss), Train(epochs=3, batch_size=16))


def test_weights_that_are_no_numbers_are_noticed_after_the_last_step(tiny_task):
    task = perceptron(tiny_task, 16)
    huge = dataclasses.replace(task, loss=lambda f, b: f(b[0]).square().mean().sqrt() * 1e38)
    train = Train(epochs=1, optimizer=sgd(lr=1e30, momentum=0.0), batch_size=16)
    with pytest.raises(TrainingError, match=r"after the last step '1.weight' and 3 other.*hold NaN"):
        FLOAT(task.model, huge, train)


def test_a_loss_that_is_no_scalar(tiny_task):
    task = dataclasses.replace(
        tiny_task, loss=lambda f, b: nn.functional.cross_entropy(f(b[0]), b[1], reduction="none")
    )
    with pytest.raises(TrainingError, match=r"the loss has shape \(128,\).*Take its mean"):
        Fit()(task.model, task, Train(epochs=1))


def test_data_that_do_not_fit_are_noticed_before_training(tiny_task):
    wrong = TensorDataset(torch.zeros(5, 1, 9, 9), torch.zeros(5).long())
    with pytest.raises(TaskError, match=r"\(1, 9, 9\).*\(1, 8, 8\)"):
        Fit()(tiny_task.model, with_train(tiny_task, wrong), Train(epochs=1))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"precision": "fp8"}, "Fit got precision='fp8'. Choose one of auto, no, bf16, fp16"),
        ({"accumulate": 0}, "Fit got accumulate=0. Give a whole number, 1 or more"),
        ({"workers": -1}, "Fit got workers=-1"),
        ({"after_step": print}, "Give a tuple of functions of the progress"),
        ({"checkpoint_seconds": -1.0}, "Fit got checkpoint_seconds=-1.0"),
    ],
)
def test_fields_are_checked(fields, text):
    with pytest.raises(FlyweightError, match=text):
        Fit(**fields)


class Killed(Exception):
    pass


def noisy(model):
    """With dropout, so that a resumed run must find the generators as they were."""
    return nn.Sequential(*model[:-1], nn.Dropout(0.3), model[-1])


def jittered(inputs):
    return inputs + 0.1 * torch.randn_like(inputs)


@pytest.mark.parametrize("optimizer", [adam(lr=5e-3), sgd(lr=0.05)], ids=["adam", "sgd"])
@pytest.mark.parametrize("fatal", [2, 4, 7])  # in the first step of an epoch, and within one: three steps an epoch
@pytest.mark.parametrize("kind", ["tensors", "listed", "bf16"])
def test_a_run_that_broke_off_ends_bitwise_the_same(fresh_task, tmp_path, optimizer, fatal, kind):
    fit = Fit(precision="bf16" if kind == "bf16" else "no", checkpoint_seconds=0)
    data = TensorDataset(*(t[:160] for t in fresh_task.data.train.tensors))
    task = with_train(fresh_task, Listed(data) if kind == "listed" else data, fit=fit)
    model = noisy(task.model)
    train = Train(epochs=3, optimizer=optimizer, augment=(jittered,), batch_size=64)
    wanted = train(model, task)
    calls = []

    def mortal(forward, batch):
        calls.append(1)
        if len(calls) == fatal:
            raise Killed
        return cross_entropy(forward, batch)

    with Store(tmp_path / "store").working("key"):
        with pytest.raises(Killed):
            train(model, dataclasses.replace(task, loss=mortal))
        got = train(model, dataclasses.replace(task, loss=mortal))
    assert len(calls) == 10, "nothing was done twice but the step that broke"
    assert same(got, wanted)
    assert not got.training


def test_a_quantization_aware_run_that_broke_off_ends_bitwise_the_same(tiny_task, tmp_path):
    task = dataclasses.replace(tiny_task, fit=Fit(checkpoint_seconds=0))
    model = Quantize(bits=8, aware=Aware(delay=0.25, freeze=0.6))(tiny_task.model, task)
    train = Train(epochs=2)
    wanted = train(model, task)
    calls = []

    def mortal(forward, batch):
        calls.append(1)
        if len(calls) in (4, 8):  # rounding has begun, and statistics stand still: what modules know beside buffers
            raise Killed
        return cross_entropy(forward, batch)

    with Store(tmp_path / "store").working("key"):
        for _ in range(2):
            with pytest.raises(Killed):
                train(model, dataclasses.replace(task, loss=mortal))
        got = train(model, dataclasses.replace(task, loss=mortal))
    assert len(calls) == 10
    assert same(got, wanted)


def test_checkpoints_are_for_the_very_same_run(fresh_task, tmp_path):
    calls = []

    def counted(forward, batch):
        calls.append(1)
        return cross_entropy(forward, batch)

    task = dataclasses.replace(fresh_task, loss=counted, fit=Fit(precision="no", checkpoint_seconds=0))
    train = Train(epochs=1)
    with Store(tmp_path / "store").working("key"):
        first = train(task.model, task)
        assert len(calls) == 4
        assert same(train(task.model, task), first)
        assert len(calls) == 4, "the finished run is found"
        train(first, task)
        assert len(calls) == 8, "another model is another run"
        dataclasses.replace(train, seed=1)(task.model, task)
        assert len(calls) == 12


def test_nothing_is_written_outside_a_store(fresh_task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Fit(checkpoint_seconds=0)(fresh_task.model, fresh_task, Train(epochs=1))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_progress_and_interrupts(fresh_task, tmp_path):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no", checkpoint_seconds=1000))
    train = Train(epochs=2)
    wanted = train(task.model, task)
    calls = []

    def pressed(forward, batch):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return cross_entropy(forward, batch)

    with Store(tmp_path / "store").working("key"):
        with pytest.raises(KeyboardInterrupt):
            train(task.model, dataclasses.replace(task, loss=pressed))
        assert len(calls) == 3
        assert same(train(task.model, dataclasses.replace(task, loss=pressed)), wanted)
    assert len(calls) == 8


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **more}


def test_kill_9_and_again_gives_the_same_bits(tmp_path):
    command = [sys.executable, str(HERE / "mortal.py")]
    runs = {}
    for name, kill in (("whole", []), ("killed", ["5"])):
        folder = str(tmp_path / name)
        if kill:
            ended = subprocess.run([*command, folder, *kill], env=environment(), capture_output=True, text=True)
            assert ended.returncode == -signal.SIGKILL, ended.stderr
            assert list((tmp_path / name / "store" / "progress").rglob("fit-*.safetensors"))
            assert not (tmp_path / name / "result.safetensors").exists()
        ended = subprocess.run([*command, folder], env=environment(), capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        runs[name] = load_state(tmp_path / name / "result.safetensors"), json.loads(ended.stdout)
    whole, killed = runs["whole"], runs["killed"]
    assert all(value.equal(killed[0][name]) for name, value in whole[0].items())
    assert (whole[1], killed[1]) == (8, 8 - 4), "the second run took up where the first was killed"


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    single = subprocess.run(
        [sys.executable, str(HERE / "crew.py"), str(tmp_path / "one")],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert single.returncode == 0, single.stderr
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    crew = subprocess.run(
        [*torchrun, str(HERE / "crew.py"), str(tmp_path / "two")], env=environment(), capture_output=True, text=True
    )
    assert crew.returncode == 0, crew.stderr[-3000:]
    alone, first, second = (load_state(tmp_path / name) for name in ("one-0", "two-0", "two-1"))
    assert set(alone) == set(first)
    for name, value in first.items():
        assert value.equal(second[name]), f"the processes disagree on {name}"
        if name.startswith("plain"):
            torch.testing.assert_close(value, alone[name])


@pytest.mark.slow
def test_two_processes_that_were_killed_within_an_epoch_end_bitwise_the_same(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(HERE / "mortal.py")]
    kept = {}
    for name, kill in (("whole", []), ("killed", ["7"])):
        folder = tmp_path / name
        if kill:
            ended = subprocess.run([*command, str(folder), *kill], env=environment(), capture_output=True, text=True)
            assert ended.returncode != 0
            (checkpoint,) = (folder / "store" / "progress").rglob("fit-*.safetensors")
            with safe_open(checkpoint, framework="pt") as file:
                done = json.loads(file.metadata()["progress"])["plain"]["done"]
            assert done % 4, "kept within an epoch"
        ended = subprocess.run([*command, str(folder)], env=environment(), capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr[-3000:]
        kept[name] = load_state(folder / "result.safetensors")
    assert all(value.equal(kept["killed"][name]) for name, value in kept["whole"].items())
