"""Several fresh processes on one search, each with its own accelerator state, sharing the folder."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from flyweight.core.errors import FlyweightError
from flyweight.core.point import Point
from flyweight.search.candidate import Strategy, Terms
from flyweight.search.clock import Clock, TimeUp
from flyweight.search.evaluate import Evaluator

_PATIENCE = 10.0
"""Seconds that a worker has to leave off by itself before it is killed; nothing that was finished is lost by that."""


def spread(
    evaluator: Evaluator, strategy: Strategy, terms: Terms, clock: Clock, watch: Callable[[Point], None]
) -> None:
    """Runs an adaptive ``strategy`` in ``strategy.workers`` new processes, and watches the points come in.

    The task travels by pickle, so its functions have to stand at the top of a module that a new process can import;
    raises :class:`FlyweightError` where they do not, or where every worker died.
    """
    count = int(getattr(strategy, "workers", 1))
    try:
        load = pickle.dumps((evaluator, dataclasses.replace(strategy, workers=1), terms))  # type: ignore[type-var]
    except Exception as error:
        raise FlyweightError(
            f"FlyweightError: the task {evaluator.task.name!r} cannot be sent to {count} workers: {error}. Define its "
            "functions at the top of a module that can be imported; or start the same command several times with one "
            "--out, for such runs share their work."
        ) from error
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
        # Through a file: a child that dies before it has read a long argument would leave its parent writing for ever.
        path = Path(folder) / "task"
        path.write_bytes(load)
        _run(path, count, evaluator, clock, watch)


def _run(path: Path, count: int, evaluator: Evaluator, clock: Clock, watch: Callable[[Point], None]) -> None:
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // count)
    # Not as daemons: those may have no children, and a DataLoader of the task's own starts some.
    team = [
        context.Process(target=_work, args=(path, rank, threads, _left(clock), os.getpid())) for rank in range(count)
    ]
    seen = {p.id for p in evaluator.ledger.all()}
    try:
        with _patient():
            for process in team:
                process.start()
        while any(process.is_alive() for process in team):
            time.sleep(0.2)
            _tell_new(evaluator, seen, watch)
            if clock.over and time.monotonic() - clock.start > float(clock.limit or 0) + clock.grace:
                raise TimeUp("the time limit has passed")
    finally:
        _end(team)
    _tell_new(evaluator, seen, watch)
    if all(process.exitcode for process in team):
        codes = ", ".join(str(process.exitcode) for process in team)
        raise FlyweightError(
            f"FlyweightError: all {count} workers ended early (exit codes {codes}); their messages stand above. A "
            "script needs `if __name__ == '__main__':` around its call. What was finished is kept; with one worker the "
            "same call goes on in this process."
        )


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Processes started here have threads that sleep while they wait for one another, as those of the command line do.

    OpenMP reads this once, when torch is loaded: in the process that calls, it is too late.
    """
    name = "OMP_WAIT_POLICY"
    mine = name not in os.environ
    os.environ.setdefault(name, "PASSIVE")
    try:
        yield
    finally:
        if mine:
            os.environ.pop(name, None)


def _work(path: Path, rank: int, threads: int, left: float | None, parent: int) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    evaluator, strategy, terms = pickle.loads(path.read_bytes())
    strategy = dataclasses.replace(strategy, seed=strategy.seed + 7919 * rank)
    clock = Clock(left)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(strategy(evaluator.task, terms)) as candidates:
        point: Point | None = None
        while not clock.over:
            try:
                candidate = candidates.send(point)
            except StopIteration:
                return
            point = evaluator(candidate)


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent has gone, which a kill gives no chance to say so."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os._exit(1)


def _end(team: Sequence[BaseProcess]) -> None:
    started = [process for process in team if process.pid is not None]
    for process in started:
        if process.is_alive():
            process.terminate()
    until = time.monotonic() + _PATIENCE
    try:
        for process in started:
            process.join(max(0.0, until - time.monotonic()))
    finally:  # a second Ctrl-C ends the patience; Python would wait for ever for those left
        for process in started:
            if process.is_alive():
                process.kill()
                process.join()


def _tell_new(evaluator: Evaluator, seen: set[str], watch: Callable[[Point], None]) -> None:
    for point in evaluator.ledger.all():
        if point.id not in seen:
            seen.add(point.id)
            watch(point)


def _left(clock: Clock) -> float | None:
    return None if clock.limit is None else max(1e-3, clock.limit - (time.monotonic() - clock.start))
