"""run, the store and the keys, with steps small enough to see through."""

import copy
import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import weakref
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from flyweight.core.errors import FlyweightError, StoreError
from flyweight.core.key import model_key, recipe_keys, task_key
from flyweight.core.pretrained import from_pretrained, save_pretrained
from flyweight.core.recipe import Ensemble, run
from flyweight.core.step import Step
from flyweight.core.store import Store, scratch
from flyweight.core.task import Splits, Task, batches

TAKEN: list[str] = []


@dataclass(frozen=True)
class Shift(Step):
    by: float = 1.0

    def edit(self, model, task):
        TAKEN.append(f"shift {self.by}")
        with torch.no_grad():
            for p in model.parameters():
                p.add_(self.by)
        return model


@dataclass(frozen=True)
class Noise(Step):
    def edit(self, model, task):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        return model


@dataclass(frozen=True)
class Widen(Step):
    def edit(self, model, task):
        TAKEN.append("widen")
        return nn.Linear(3, 5)

    def replay(self, model, task, state):
        return nn.Linear(3, 5)


@dataclass(frozen=True)
class Copy(Step):
    """Takes the teacher's values: shows what a step is handed."""

    sources: tuple[tuple[Step, ...], ...] = ()

    def teachers(self):
        return self.sources

    def edit(self, model, task):
        teacher = task.teacher
        members = list(teacher.members) if isinstance(teacher, Ensemble) else [teacher]
        with torch.no_grad():
            for p, *others in zip(model.parameters(), *[m.parameters() for m in members], strict=True):
                p.copy_(torch.stack(others).mean(0))
        return model


def make_task(name="t"):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(10, 3), torch.zeros(10))
    return Task(
        name=name,
        model=nn.Linear(3, 2),
        example=(torch.randn(2, 3),),
        data=Splits(train=data, calibrate=data, select=data, report=data),
        loss=lambda forward, batch: forward(batch[0]).sum(),
        quality=lambda forward, batches: 0.0,
    )


@pytest.fixture
def task():
    TAKEN.clear()
    return make_task()


def values(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


class Asked(torch.utils.data.Dataset):
    def __init__(self, data):
        self.data, self.times = data, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.times += 1
        return self.data[index]


def test_a_task_is_read_once_for_its_key():
    task = make_task()
    asked = Asked(task.data.train)
    task = dataclasses.replace(task, data=dataclasses.replace(task.data, train=asked))
    first, times = task_key(task), asked.times
    assert times > 0
    assert task_key(task) == first
    assert asked.times == times
    assert task_key(dataclasses.replace(task)) == first
    assert asked.times > times
    told = weakref.ref(task)
    del task
    gc.collect()
    assert told() is None, "a key keeps no task alive"


def test_run_leaves_its_input_and_takes_each_step(task):
    before = values(task.model).clone()
    after = run([Shift(1.0), Shift(2.0)], task.model, task)
    assert torch.equal(values(task.model), before)
    assert torch.allclose(values(after), before + 3)


def test_recipes_that_share_a_prefix_share_its_work(task, tmp_path):
    store = Store(tmp_path)
    run([Shift(1.0), Shift(2.0)], task.model, task, store)
    run([Shift(1.0), Shift(3.0)], task.model, task, store)
    assert TAKEN == ["shift 1.0", "shift 2.0", "shift 3.0"]


def test_a_kept_recipe_takes_no_step_and_gives_the_same_bits(task, tmp_path):
    recipe = [Widen(), Noise(), Shift(0.5)]
    first = run(recipe, task.model, task, Store(tmp_path))
    TAKEN.clear()
    again = run(recipe, task.model, task, Store(tmp_path))
    assert TAKEN == []
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_steps_are_seeded_by_their_key_and_leave_the_callers_generator_alone(task):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = run([Noise()], task.model, task)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(6)
    assert torch.equal(values(one), values(run([Noise()], task.model, task)))


def test_the_untouched_input_is_the_teacher_unless_a_recipe_names_others(task, tmp_path):
    before = values(task.model)
    assert torch.equal(values(run([Shift(5.0), Copy()], task.model, task)), before)
    ensemble = Copy(sources=((Shift(1.0),), (Shift(3.0),)))
    assert torch.allclose(values(run([ensemble], task.model, task, Store(tmp_path))), before + 2)
    TAKEN.clear()
    run([Shift(3.0)], task.model, task, Store(tmp_path))
    assert TAKEN == [], "a teacher is a kept recipe like any other"


def test_keys_tell_tasks_models_and_steps_apart(task):
    assert task_key(task) == task_key(make_task()) != task_key(make_task("other"))
    other = copy.deepcopy(task.model)
    with torch.no_grad():
        other.weight[0, 0] += 1e-6
    assert model_key(other) != model_key(task.model)
    a = recipe_keys([Shift(1.0), Shift(2.0)], task.model, task)
    b = recipe_keys([Shift(1.0), Shift(2.5)], task.model, task)
    assert a[:2] == b[:2]
    assert a[2] != b[2]
    with_teacher = recipe_keys([Copy(sources=((Shift(1.0),),))], task.model, task)
    assert with_teacher[1] != recipe_keys([Copy()], task.model, task)[1]


def test_a_task_is_another_when_its_data_are(task):
    data = TensorDataset(torch.ones(10, 3), torch.zeros(10))
    other = Splits(train=data, calibrate=data, select=data, report=data)
    changed = make_task()
    object.__setattr__(changed, "data", other)
    assert task_key(changed) != task_key(task)


def test_a_task_is_another_when_its_teacher_is(task):
    one, two = make_task(), make_task()
    object.__setattr__(one, "teacher", nn.Linear(3, 2))
    object.__setattr__(two, "teacher", nn.Linear(3, 2))
    assert len({task_key(t) for t in (task, one, two)}) == 3


def test_what_is_no_step_is_refused_with_the_way_out(task):
    with pytest.raises(FlyweightError, match="Did you forget to call it"):
        run([Shift], task.model, task)
    with pytest.raises(FlyweightError, match=r"a tuple of steps, and here is a Shift\. Give \(Shift\(…\),\)"):
        run(Shift(1.0), task.model, task)


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="did not put there"):
        Store(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match="--out"):
        Store(tmp_path / "run" / "deep")


def test_another_format_is_named(tmp_path):
    (tmp_path / "flyweight.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="format"):
        Store(tmp_path)


def test_a_damaged_result_says_what_to_delete(task, tmp_path):
    store = Store(tmp_path)
    run([Shift(1.0)], task.model, task, store)
    weights = next((tmp_path / "steps").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(StoreError, match="Delete it"):
        run([Shift(1.0)], task.model, task, store)


def test_scratch_is_there_during_a_step_and_gone_after(task, tmp_path):
    seen = []

    @dataclass(frozen=True)
    class Look(Step):
        def edit(self, model, task):
            seen.append(scratch())
            (scratch() / "half").write_text("x")
            return model

    Look.__qualname__ = "Look"
    globals()["Look"] = Look
    run([Look()], task.model, task, Store(tmp_path))
    assert seen[0] is not None
    assert not seen[0].exists()
    assert scratch() is None


def test_saved_and_loaded_bit_for_bit_in_a_fresh_process(task, tmp_path):
    recipe = [Widen(), Noise()]
    model = run(recipe, task.model, task)
    save_pretrained(model, tmp_path / "m", recipe, task, {"quality": 0.5})
    loaded = from_pretrained(tmp_path / "m", task)
    assert torch.equal(values(model), values(loaded))
    assert {p.name for p in (tmp_path / "m").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    with pytest.raises(StoreError, match="was saved from the task"):
        from_pretrained(tmp_path / "m", make_task("other"))
    with pytest.raises(StoreError, match=r"config\.json"):
        from_pretrained(tmp_path / "nowhere", task)


def test_another_task_of_the_same_name_is_refused(task, tmp_path):
    save_pretrained(task.model, tmp_path / "m", [], task)
    other = dataclasses.replace(task, example=(torch.zeros(7, 7),))
    with pytest.raises(StoreError, match=r"another task of the same name .* or with .*strict=False"):
        from_pretrained(tmp_path / "m", other)
    assert torch.equal(values(from_pretrained(tmp_path / "m", other, strict=False)), values(task.model))


def test_shared_tensors_survive_the_round_trip(tmp_path):
    from flyweight.core.weights import load_state, restore, save_state

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = nn.Linear(3, 3)
            self.b.weight = self.a.weight

    tied = Tied()
    save_state(tied.state_dict(), tmp_path / "t.safetensors")
    other = restore(Tied(), load_state(tmp_path / "t.safetensors"))
    assert other.a.weight is other.b.weight
    assert torch.equal(other.a.weight, tied.a.weight)


def test_batches_can_be_iterated_twice_and_end_with_what_is_left():
    data = TensorDataset(torch.arange(10), torch.arange(10))
    found = batches(data, 4)
    assert [len(b[0]) for b in found] == [4, 4, 2] == [len(b[0]) for b in found]
    slow = [(torch.tensor(i), torch.tensor(i)) for i in range(10)]
    assert [b[0].tolist() for b in batches(slow, 4)] == [b[0].tolist() for b in found]


KILLED = """
import os, sys, time
from dataclasses import dataclass
sys.path.insert(0, {here!r})
import test_recipe as t
from flyweight.core.step import Step
from flyweight.core.store import Store
from flyweight.core.recipe import run

@dataclass(frozen=True)
class Slow(Step):
    n: int = 0
    def edit(self, model, task):
        print("start", self.n, flush=True)
        time.sleep(0.3)
        return t.Noise().edit(model, task)

task = t.make_task()
sys.modules["killed"] = sys.modules["__main__"]
Slow.__module__ = "killed"
run([Slow(i) for i in range(5)], task.model, task, Store({out!r}))
print("done", flush=True)
"""


def test_a_killed_run_goes_on_and_repeats_no_finished_step(tmp_path):
    code = textwrap.dedent(KILLED).format(here=os.path.dirname(__file__), out=str(tmp_path / "run"))
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("start 2"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    rest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert rest[:3] == ["start 2", "start 3", "start 4"]
    log = [json.loads(line)["key"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(log) == len(set(log)) == 5


class Random(torch.utils.data.Dataset):
    """Another answer at each look, as a data set that augments gives."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.rand(3), torch.tensor(0.0)


def test_a_data_set_that_is_random_itself_has_one_key():
    def drawn():
        task, data = make_task(), Random()
        object.__setattr__(task, "data", Splits(train=data, calibrate=data, select=data, report=data))
        return task_key(task)

    assert drawn() == drawn() != task_key(make_task())
