"""``flyweight optimize``: from a task to a frontier."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight.core.errors import BudgetError, FlyweightError

if TYPE_CHECKING:
    from flyweight.core.frontier import Frontier
    from flyweight.core.point import Point

INTERRUPTED = 130
"""The exit code after Ctrl-C, when the frontier was written."""


def optimize(options: Any) -> int:
    """Makes the frontier of a task and prints it."""
    from flyweight.core.budget import Budget

    budgets = [Budget.parse(text) for text in options.budget]
    from flyweight.search.clock import seconds

    seconds(options.timeout)  # a wrong word should be told before torch and the data are loaded
    from flyweight.tasks.load import load_task

    task = load_task(options.task)
    from flyweight.report.table import text
    from flyweight.search.optimize import optimize as search

    try:
        result = search(
            task,
            options.out,
            max_drop=options.max_drop,
            budgets=budgets,
            timeout=options.timeout,
            strategy=_strategy(options),
            seed=options.seed,
            threads=options.threads,
            runtime=options.runtime,
            meter=options.meter,
            kernels=options.kernels,
            watch=None if options.json else _show,
        )
    except BudgetError:
        found = Path(options.out) / "frontier.json"
        if found.exists():
            _print_frontier(options, text, None)
        raise
    interrupted = result.about.get("end") == "interrupted"
    asked = bool(budgets) or options.max_drop is not None
    _print_frontier(options, text, result.best() if asked and not interrupted else None)
    return INTERRUPTED if interrupted else 0


def _strategy(options: Any) -> Any:
    for name in ("ratios", "structure"):
        given = options[name]
        if given is not None and options.strategy != "prune":
            told = given if isinstance(given, str) else json.dumps(given)
            raise FlyweightError(
                f"FlyweightError: --{name} {told} needs --strategy prune; {options.strategy} chooses for itself what "
                "to prune."
            )
    if options.strategy == "free":
        from flyweight.search.free import free
        from flyweight.search.space import Space

        space = Space(seed=options.seed)
        return free(options.trials, options.sampler, options.workers, options.seed, space)
    if options.workers != 1:
        raise FlyweightError(
            f"FlyweightError: --workers {options.workers} needs --strategy free. The arms of the others go one "
            "after another; or start the same command several times with one --out: such runs share their work."
        )
    if options.strategy == "prune":
        from flyweight.search.chain import STRUCTURES, chain
        from flyweight.search.pruned import RATIOS, SPARSE_RATIOS, pruned
        from flyweight.search.until import until

        structure = options.structure or "channels"
        how = chain(structure=STRUCTURES[structure], seed=options.seed)
        # Ratios that were asked for are tried, budgets or not: these then say which of them to take.
        if options.ratios is None and options.budget:
            return until(how)
        usual = RATIOS if structure == "channels" else SPARSE_RATIOS
        return pruned(usual if options.ratios is None else tuple(options.ratios), how)
    return None


def _show(point: Point) -> None:
    from flyweight.report.units import cost

    if point.failure is not None:
        reason = " ".join(point.failure.split())
        mark = "·" if point.left_out else "✗"
        print(f"{mark} {point.label}: {reason}", file=sys.stderr, flush=True)
        return
    costs = [cost(name, value) for name in ("size_bytes", "latency_ms") if (value := point.value(name)) is not None]
    quality = "" if point.quality is None else f"{point.quality.value:.4g}"
    print(f"✓ {point.label}: " + ", ".join((quality, *costs)), file=sys.stderr, flush=True)


def _print_frontier(options: Any, text: Callable[[Frontier], str], best: Point | None) -> None:
    from flyweight.core.frontier import Frontier

    found = Frontier.load(options.out)
    if options.json:
        print(json.dumps(found.to_json()))
        return
    print(text(found))
    if best is not None:
        print(f"\ntake: {Path(options.out) / str(best.path)}  ({best.label})")
        for need in best.needs:
            plain = (Path(options.out) / str(best.path)).with_suffix(".plain.onnx")
            print(f"it needs {need}; without: {plain}")
    print(f"\nreport: {Path(options.out) / 'report.html'}   models: {Path(options.out) / 'models'}")
