"""Several processes on one study."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

import arms
from flyweight.core.errors import FlyweightError
from flyweight.core.task import Task
from flyweight.learn.fit import Fit
from flyweight.measure import child
from flyweight.search import workers
from flyweight.search.candidate import Terms
from flyweight.search.free import free
from flyweight.search.optimize import optimize
from flyweight.search.space import Space
from flyweight.search.study import Study


@pytest.mark.slow
def test_two_workers_share_the_trials(fresh_task: Task, tmp_path: Path) -> None:
    search = free(trials=4, sampler="random", workers=2, space=Space(widths=(0.5, 2.0), longest=0.5))
    seen: list[str] = []
    frontier = optimize(fresh_task, tmp_path / "out", strategy=search, watch=lambda p: seen.append(p.label))
    study = Study(Terms(folder=tmp_path / "out"))
    assert study.finished == 4
    assert len({t.user_attrs["owner"] for t in study._study.trials}) == 2
    assert {p.label for p in frontier.points} == set(seen)
    keys = [json.loads(line)["key"] for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys))


def test_a_task_that_cannot_travel_says_so(fresh_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def local(forward: Any, batches: Any) -> float:
        return 0.5

    task = dataclasses.replace(fresh_task, quality=local)
    with pytest.raises(FlyweightError, match=r"cannot be sent to 2 workers: .*several times with one --out"):
        optimize(task, tmp_path / "out", strategy=free(trials=2, workers=2))


def test_a_trial_of_a_dead_process_is_taken_again(tmp_path: Path) -> None:
    study = Study(Terms(folder=tmp_path))
    trial = study.ask()
    width = trial.suggest_float("width", 0.1, 1.0)
    trial.set_user_attr("owner", f"{_host()} 999999 1.00")
    study.recover()
    again = study.ask()
    assert again.suggest_float("width", 0.1, 1.0) == width
    assert study.finished == 0


def test_a_trial_of_a_living_process_is_left_to_it(tmp_path: Path) -> None:
    study = Study(Terms(folder=tmp_path))
    study.ask()
    study.recover()
    assert study.started == 1
    assert study.finished == 0


def _host() -> str:
    import os

    return os.uname().nodename


def test_recovering_waits_for_whoever_asks(tmp_path: Path) -> None:
    study = Study(Terms(folder=tmp_path))
    study.ask()
    thread = threading.Thread(target=study.recover)
    with (tmp_path / "trials.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


def test_threads_of_processes_that_we_start_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with workers._patient():
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_WAIT_POLICY" not in os.environ
    assert child._environment(1)["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with workers._patient():
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["OMP_WAIT_POLICY"] == child._environment(1)["OMP_WAIT_POLICY"] == "ACTIVE"


_ORPHAN = """
import sys, time, multiprocessing
from flyweight.search import workers

def linger(parent):
    import threading
    threading.Thread(target=workers._end_with, args=(parent,), daemon=True).start()
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
    child.start()
    child.join()
    print("ready", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    import os
    process = multiprocessing.get_context("spawn").Process(target=linger, args=(os.getpid(),))
    process.start()
    print(process.pid, flush=True)
    process.join()
"""


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(_ORPHAN)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    worker.wait(10)
    parent.stdout.close()


@pytest.mark.slow
def test_workers_may_have_loaders_of_their_own(fresh_task: Task, tmp_path: Path) -> None:
    data = dataclasses.replace(fresh_task.data, train=arms.Loaded(fresh_task.data.train))
    task = dataclasses.replace(fresh_task, data=data, fit=Fit(device="cpu", workers=1))
    search = free(trials=2, sampler="random", workers=2, space=Space(widths=(0.5, 2.0), longest=0.5))
    points = optimize(task, tmp_path / "out", strategy=search).points
    assert [p.failure for p in points] == [None] * len(points)
