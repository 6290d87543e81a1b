"""The main job: from a task to a frontier of deployable models."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import flyweight
from flyweight.core.atomic import read_json, write_json
from flyweight.core.budget import Budget
from flyweight.core.crew import crew
from flyweight.core.errors import BudgetError, FlyweightError, StoreError, unknown_name
from flyweight.core.frontier import Frontier, frontier
from flyweight.core.key import recipe_keys
from flyweight.core.point import Point
from flyweight.core.serial import to_json
from flyweight.core.store import Store
from flyweight.core.takes import takes
from flyweight.core.task import Task
from flyweight.core.verdict import verdict
from flyweight.deploy.runtimes.open import RUNTIMES, open_artifact, runtime_name
from flyweight.kernels.library import why_not
from flyweight.measure.energy import find_counter
from flyweight.measure.host import host
from flyweight.search.candidate import Candidate, Strategy, Terms, plain
from flyweight.search.chain import chain
from flyweight.search.clock import Clock, TimeUp, seconds
from flyweight.search.conclude import conclude
from flyweight.search.evaluate import Evaluator
from flyweight.search.free import free
from flyweight.search.sketch import sketched
from flyweight.search.spare import spared
from flyweight.search.survey import survey
from flyweight.search.validate import validate
from flyweight.search.workers import spread

Watch = Callable[[Point], None]
_KERNELS = ("auto", "none")


def optimize(
    task: Task,
    out: Path | str = "run",
    *,
    max_drop: float | None = None,
    budgets: Iterable[Budget | str] = (),
    timeout: str | float | None = None,
    strategy: Strategy | None = None,
    seed: int = 0,
    threads: int = 1,
    runtime: str = "onnxruntime",
    meter: str | None = None,
    kernels: str = "auto",
    watch: Watch | None = None,
) -> Frontier:
    """Makes smaller, faster and better models of ``task`` and returns the frontier; everything is kept under ``out``.

    ``max_drop`` is the quality that may be lost against the baseline, ``budgets`` are bounds on measured fields
    (``"size_bytes<=200_000"``), ``timeout`` is in seconds or as ``"20m"``; ``strategy`` is :class:`survey` where None.
    ``threads`` are the runtime's; ``meter`` names a function ``"module:function"`` of your own that reads the joules
    used so far, where the machine has no counter that we know; ``watch`` is called with every point as it comes.
    With ``kernels="auto"``, layers of many zeros run on the sparse kernels where they proved faster so on this machine,
    and such a file has the plain one of the same model beside it; ``"none"`` writes plain files alone.

    On shared cores, set ``OMP_WAIT_POLICY=PASSIVE`` before Python starts: torch's threads read it once, when they are
    loaded. The command line does so, and so do the processes that a search starts itself.

    A candidate whose file breaks a budget of bytes before it is trained is skipped, as a row that says so.

    The same call goes on where an earlier one stood, and answers from what was kept where all was done. Ctrl-C and the
    time limit end the search with what there is. ``out`` then holds ``frontier.json``, ``report.html`` and ``models/``.

    Raises :class:`TaskError`, :class:`MetricError` and :class:`ExportError` before anything is trained,
    :class:`StoreError` for a folder that cannot be used, and :class:`BudgetError` at the end, after everything was
    kept, where no model keeps the budgets and ``max_drop``.
    """
    wanted = tuple(b if isinstance(b, Budget) else Budget.parse(b) for b in budgets)
    if max_drop is not None and not max_drop >= 0:
        raise BudgetError(
            f"BudgetError: max_drop={max_drop:g} can never be met. Give the quality that may be lost, ≥ 0."
        )
    if threads < 1:
        raise FlyweightError(f"FlyweightError: optimize got threads={threads}. Give 1 or more.")
    if crew()[1] > 1:
        raise FlyweightError(
            f"FlyweightError: optimize was started in {crew()[1]} processes by torchrun, and it searches in one. Start "
            "it with plain python; free(workers=…) takes more. To train one recipe in many processes, call fw.run with "
            "a Train step under torchrun."
        )
    clock = Clock(seconds(timeout))
    chosen = strategy if strategy is not None else survey(seed=seed)
    if isinstance(chosen, chain) or not takes(chosen, 2):
        raise FlyweightError(
            f"FlyweightError: optimize got strategy={chosen!r}. Give a strategy: survey(), free(), "
            "pruned(how=chain()), until(chain()), or a function of a task and terms that gives candidates."
        )
    check = getattr(chosen, "check", None)
    if check is not None:
        check(task, Terms(folder=Path(out), budgets=wanted, max_drop=max_drop))
    if kernels not in _KERNELS:
        raise unknown_name("choice of kernels", kernels, _KERNELS)
    runtime_name(runtime)  # an unknown one is told before the folder is made
    find_counter(meter=meter)  # and so is a meter that cannot be read
    store = Store(out)
    _claim(store, task, runtime)
    reason = _without(runtime) if kernels == "auto" else None
    evaluator = Evaluator(task, store, runtime, threads, meter=meter, kernels="none" if reason else kernels)
    terms = Terms(folder=store.folder, budgets=wanted, max_drop=max_drop)
    started, ended = _now(), "finished"
    base = plain(task, seed)
    kept = evaluator.kept(base)
    if kept is None or kept.path is None:
        validate(task, runtime, threads)
    else:
        open_artifact(store.folder / kept.path, runtime, threads)
    try:
        with clock.guard():
            if not _search(evaluator, base, chosen, terms, clock, watch or _silent):
                ended = "time limit"
    except TimeUp:
        ended = "time limit"
    except KeyboardInterrupt:
        ended = "interrupted"
    points = _points(evaluator, base)
    if ended != "interrupted":
        try:
            evaluator = dataclasses.replace(evaluator, baseline=_baseline(evaluator, points))
            within = None if clock.limit is None else clock.grace
            points = conclude(evaluator, points, terms.costs, within)
            if any(p.report is None for p in frontier(points, terms.costs)):
                ended = "time limit"
        except KeyboardInterrupt:
            points, ended = _points(evaluator, base), "interrupted"
    about = {
        "task": task.name,
        "flyweight": flyweight.__version__,
        "host": host(),
        "runtime": runtime,
        "kernels": f"none: {reason}" if reason else kernels,
        "options": {"seed": seed, "threads": threads, "timeout_s": clock.limit},
        "strategy": _named(chosen),
        "budgets": [str(b) for b in wanted],
        "max_drop": max_drop,
        "started": started,
        "ended": _now(),
        "end": ended,
    }
    result = Frontier(points, store.folder, terms.costs, about)
    write_json(store.folder / "frontier.json", result.to_json())
    result.report(store.folder / "report.html")
    if ended != "interrupted":
        verdict(result.points, wanted, max_drop)
    return result


def _search(
    evaluator: Evaluator, base: Candidate, strategy: Strategy, terms: Terms, clock: Clock, watch: Watch
) -> bool:
    """Evaluates the baseline and what ``strategy`` proposes; whether it came to its end before the time did."""
    point = evaluator.demand(base)
    watch(point)
    evaluator = dataclasses.replace(evaluator, baseline=_baseline(evaluator, (point,)))
    terms = dataclasses.replace(terms, baseline=point)
    if getattr(strategy, "workers", 1) > 1:
        spread(evaluator, strategy, terms, clock, watch)
        return not clock.over
    proposals = strategy(evaluator.task, terms)
    # The free search learns from how far a point is above its budget, so it gets them all.
    budgets = () if isinstance(strategy, free) else terms.budgets
    with contextlib.closing(_fed(proposals)) as candidates:
        result: Point | None = None
        while not clock.over:
            try:
                candidate = candidates.send(result)
            except StopIteration:
                return True
            if candidate.sketch is not None:
                result = sketched(evaluator, candidate)
            else:
                result = spared(evaluator, candidate, budgets) or evaluator(candidate)
            watch(result)
    return False


def _fed(proposals: Iterable[Candidate]) -> Generator[Candidate, Point | None, None]:
    """Any strategy as a generator that takes results: those that do not learn from them are simply run through."""
    if isinstance(proposals, Generator):
        yield from proposals
    else:
        for candidate in proposals:  # noqa: UP028 (`yield from` would hand results to an iterator that takes none)
            yield candidate


def _points(evaluator: Evaluator, base: Candidate) -> tuple[Point, ...]:
    kept = evaluator.kept(base)
    key = None if kept is None else kept.id
    found = (dataclasses.replace(p, baseline=p.id == key) for p in evaluator.ledger.all())
    return tuple(sorted(map(_openable, found), key=lambda p: not p.baseline))


def _openable(point: Point) -> Point:
    """``point``, or where its file needs what is not here, the row that says so."""
    reason = why_not() if point.needs else None
    if reason is None or point.failure is not None:
        return point
    told = f"ArtifactError: {point.path} runs on the sparse kernels, which are not used here: {reason}."
    return dataclasses.replace(point, failure=told, quality=None, report=None)


def _without(runtime: str) -> str | None:
    """Why no file made for ``runtime`` can run on the sparse kernels here; None where it can."""
    if runtime_name(runtime) != RUNTIMES["onnxruntime"]:
        return f"{runtime} cannot take them in"
    return why_not()


def _baseline(evaluator: Evaluator, points: Iterable[Point]) -> Path | None:
    return next((evaluator.store.folder / p.path for p in points if p.baseline and p.path is not None), None)


def _claim(store: Store, task: Task, runtime: str) -> None:
    """Marks the folder as this task's in this runtime; points of two cannot be compared."""
    mark = store.folder / "task.json"
    told = {"name": task.name, "key": recipe_keys((), task.model, task)[0], "runtime": runtime_name(runtime)}
    if not mark.exists():
        write_json(mark, told)
        return
    found: Any = read_json(mark)
    if found == told:
        return
    for name in ("name", "runtime"):
        other = found.get(name) if isinstance(found, dict) else found
        if other != told[name]:
            what = "task" if name == "name" else name
            raise StoreError(
                f"StoreError: {store.folder} holds results of the {what} {other!r}, and this is {told[name]!r}. "
                "Choose another folder with --out."
            )
    raise StoreError(
        f"StoreError: {store.folder} holds results of a task {task.name!r} whose data, code or initial weights were "
        "others, so they cannot be compared. Choose another folder with --out; or, if the weights are drawn anew each "
        "time, call torch.manual_seed before the model is made."
    )


def _named(strategy: Strategy) -> Any:
    try:
        return to_json(strategy)
    except FlyweightError:
        return repr(strategy)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _silent(point: Point) -> None:
    return None
