"""The command line: ``flyweight optimize | measure | report | predict | doctor``."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import flyweight
from flyweight.core.errors import BudgetError, FlyweightError

if TYPE_CHECKING:
    from flyweight.core.frontier import Frontier
    from flyweight.core.point import Point

FAILED, UNMET, INTERRUPTED = 2, 3, 130
"""Exit codes: a FlyweightError or wrong usage; a budget that nothing meets; Ctrl-C, after the frontier was written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; a :class:`FlyweightError` is one line on stderr."""
    # Before torch starts its threads: by default they spin while they wait for one another, which made training seven
    # times slower on two cores that something else was using too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    chosen = parser.parse_args(_repeatable(given))
    if chosen.command is None:
        parser.print_help()
        return 0
    options = chosen[chosen.command]
    command: Callable[[Any], int] = _COMMANDS[chosen.command][0]
    try:
        return command(options)
    except BudgetError as error:
        return _told(error, options, UNMET if Path(str(options.get("out", ""))).is_dir() else FAILED)
    except FlyweightError as error:
        return _told(error, options, FAILED)
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `| head` closed our output: leave quietly, and keep Python from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    from flyweight.search.verdict import verdict

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
            watch=None if options.json else _show,
        )
    except BudgetError:
        found = Path(options.out) / "frontier.json"
        if found.exists():
            _print_frontier(options, text, None)
        raise
    interrupted = result.about.get("end") == "interrupted"
    best = None if interrupted else verdict(result, budgets, options.max_drop)
    _print_frontier(options, text, best)
    return INTERRUPTED if interrupted else 0


def measure(options: Any) -> int:
    """Measures files interleaved, and prints a row for each."""
    from flyweight.deploy.runtimes.open import runtime_name
    from flyweight.measure.footprint import footprints

    files = [Path(name) for name in options.files]
    baseline = Path(options.baseline) if options.baseline else None
    runtime = runtime_name(options.runtime)
    bench = {name: options[name] for name in ("threads", "batch", "meter")}
    found = footprints(files, runtime=runtime, baseline=baseline, **bench)
    if options.json:
        rows = [{"path": str(path), **f.to_json()} for path, f in zip(files, found, strict=True)]
        print(json.dumps(rows))
        return 0
    _print_footprints(files, found)
    return 0


def report(options: Any) -> int:
    """Makes the report anew from the points' JSON, and prints the table."""
    from flyweight.core.frontier import Frontier
    from flyweight.report.table import text

    found = Frontier.load(options.folder)
    path = found.report(Path(options.out) if options.out else Path(options.folder) / "report.html")
    if options.json:
        print(json.dumps(found.to_json()))
        return 0
    print(text(found))
    print(f"\nreport: {path}")
    return 0


def predict(options: Any) -> int:
    """Runs a deployed model on arrays, without torch."""
    import numpy as np

    from flyweight.core.errors import ShapeError
    from flyweight.deploy.runtimes.open import open_artifact

    session = open_artifact(Path(options.model), options.runtime, options.threads)
    arrays = []
    for name in options.inputs:
        try:
            arrays.append(np.load(name, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise FlyweightError(
                f"FlyweightError: {name} cannot be read as a numpy array: {error}. Write it with "
                "numpy.save(path, array), without objects in it."
            ) from error
    if len(arrays) != len(session.inputs):
        wanted = "; ".join(map(str, session.inputs))
        raise ShapeError(
            f"ShapeError: {options.model} takes {len(session.inputs)} input(s) ({wanted}), and got {len(arrays)} "
            "file(s). Give one .npy file an input, in this order."
        )
    arrays = [_batched(array, port) for array, port in zip(arrays, session.inputs, strict=True)]
    outputs = session(*arrays)
    names = [port.name for port in session.outputs]
    if options.out:
        from flyweight.core.atomic import atomic_path

        with atomic_path(Path(options.out)) as temporary, temporary.open("wb") as file:
            if len(outputs) > 1:
                named: dict[str, Any] = dict(zip(names, outputs, strict=True))
                np.savez(file, **named)
            else:
                np.save(file, outputs[0])
    if options.json:
        print(json.dumps({name: array.tolist() for name, array in zip(names, outputs, strict=True)}))
    elif not options.out:
        for name, array in zip(names, outputs, strict=True):
            _print_output(name, array, options.top)
    return 0


def doctor(options: Any) -> int:
    """Tells what is installed, what the machine can count, and what is missing with the line that mends it."""
    from flyweight.deploy.runtimes.open import RUNTIMES
    from flyweight.measure.energy import find_counter
    from flyweight.measure.host import host

    counters = {}
    for device in ("cpu", "cuda"):
        counter, why = find_counter(device)
        counters[f"energy, {device}"] = why if counter is None else counter.name
    told = {
        "flyweight": flyweight.__version__,
        "python": platform.python_version(),
        "host": host(),
        "counters": counters,
        "runtimes": {name: _runtime(name) for name in RUNTIMES},
        "kernels": "none: every technique here runs on torch and on the runtime's own kernels",
        "missing": {
            module: f'pip install "flyweight[{extra}]"' for module, extra in _EXTRAS.items() if _absent(module)
        },
    }
    if options.json:
        print(json.dumps(told))
        return 0
    for name, value in told.items():
        if not isinstance(value, dict):
            print(f"{name:10} {value}")
            continue
        print(f"{name}:" + ("" if value else " none"))
        for key, part in value.items():
            shown = json.dumps(part) if isinstance(part, dict | list) else part
            print(f"  {key:20} {'not told' if shown is None else shown}")
    return 0


_EXTRAS = {"openvino": "openvino", "pandas": "notebook"}
"""Modules that are looked for, and the extra that brings each."""

_METER = "module:function of your own that returns the joules used so far, where no counter is known"

_COMMANDS: dict[str, tuple[Callable[[Any], int], str]] = {
    "optimize": (optimize, "make smaller, faster and better models of a task"),
    "measure": (measure, "measure model files: bytes, latency, memory"),
    "report": (report, "make a run's report anew and print its table"),
    "predict": (predict, "run a model file on numpy arrays"),
    "doctor": (doctor, "tell versions, counters, runtimes and what is missing"),
}


def _parser() -> Any:
    from jsonargparse import ArgumentParser

    def sub(name: str) -> Any:
        parser = ArgumentParser(description=(_COMMANDS[name][0].__doc__ or "").strip(), allow_abbrev=False)
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")
        return parser

    parser = ArgumentParser(
        prog="flyweight",
        description=flyweight.__doc__.splitlines()[0],
        version=flyweight.__version__,
        allow_abbrev=False,
    )
    commands = parser.add_subcommands(required=False, dest="command")
    one = sub("optimize")
    one.add_argument("task", type=str, help="fashion-mini, fashion, or path/to/file.py:attribute")
    one.add_argument("--out", type=str, default="run", help="the folder that keeps everything")
    one.add_argument("--max-drop", type=float | None, default=None, help="quality that may be lost, as in .01")
    one.add_argument("--budget", type=list[str], default=[], help='as in "size_bytes<=200_000"; may be given again')
    one.add_argument("--timeout", type=str | None, default=None, help="stop after this long: 20m, 1h30m, or seconds")
    one.add_argument("--strategy", type=Literal["survey", "free"], default="survey", help="how to search")
    one.add_argument("--trials", type=int, default=40, help="trials of the free search")
    one.add_argument("--sampler", type=Literal["tpe", "nsga2", "random"], default="tpe", help="of the free search")
    one.add_argument("--workers", type=int, default=1, help="processes of the free search")
    one.add_argument("--seed", type=int, default=0, help="decides all randomness")
    one.add_argument("--threads", type=int, default=1, help="threads of the runtime when it is measured")
    one.add_argument("--runtime", type=str, default="onnxruntime", help="onnxruntime, openvino, or module:function")
    one.add_argument("--meter", type=str | None, default=None, help=_METER)
    one.add_argument("--config", action="config", help="a YAML file of these options")
    commands.add_subcommand("optimize", one, help=_COMMANDS["optimize"][1])

    two = sub("measure")
    two.add_argument("files", nargs="+", type=str, help="model files")
    two.add_argument("--baseline", type=str | None, default=None, help="the file that speed is compared with")
    two.add_argument("--threads", type=int, default=1, help="threads of the runtime")
    two.add_argument("--batch", type=int, default=1, help="examples a call")
    two.add_argument("--runtime", type=str, default="onnxruntime", help="onnxruntime, openvino, or module:function")
    two.add_argument("--meter", type=str | None, default=None, help=_METER)
    commands.add_subcommand("measure", two, help=_COMMANDS["measure"][1])

    three = sub("report")
    three.add_argument("folder", type=str, help="the folder that optimize wrote")
    three.add_argument("--out", type=str | None, default=None, help="where to write the HTML; FOLDER/report.html")
    commands.add_subcommand("report", three, help=_COMMANDS["report"][1])

    four = sub("predict")
    four.add_argument("model", type=str, help="a model file")
    four.add_argument("inputs", nargs="+", type=str, help="one .npy file an input; a single example may lack the batch")
    four.add_argument("--top", type=int, default=5, help="how many outputs to print, largest first")
    four.add_argument("--out", type=str | None, default=None, help="write the outputs: .npy, or .npz of several")
    four.add_argument("--threads", type=int, default=1, help="threads of the runtime")
    four.add_argument("--runtime", type=str, default="onnxruntime", help="onnxruntime, openvino, or module:function")
    commands.add_subcommand("predict", four, help=_COMMANDS["predict"][1])

    commands.add_subcommand("doctor", sub("doctor"), help=_COMMANDS["doctor"][1])
    return parser


def _repeatable(arguments: list[str]) -> list[str]:
    # A list option is replaced when it is given again, unless it is spelt with a plus.
    spelt = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        spelt.append(f"--budget+{equals}{value}" if name == "--budget" else argument)
    return spelt


def _strategy(options: Any) -> Any:
    if options.strategy == "free":
        from flyweight.search.free import free
        from flyweight.search.space import Space

        space = Space(seed=options.seed)
        return free(options.trials, options.sampler, options.workers, options.seed, space)
    if options.workers != 1:
        raise FlyweightError(
            f"FlyweightError: --workers {options.workers} needs --strategy free. The survey's arms go one after "
            "another; or start the same command several times with one --out: such runs share their work."
        )
    return None


def _told(error: FlyweightError, options: Any, code: int) -> int:
    if options.get("debug"):
        raise error
    name = type(error).__name__
    text = " ".join(str(error).split())
    print(text if text.startswith(f"{name}:") else f"{name}: {text}", file=sys.stderr)
    return code


def _show(point: Point) -> None:
    from flyweight.report.units import cost

    if point.failure is not None:
        reason = " ".join(point.failure.split())
        print(f"✗ {point.label}: {reason}", file=sys.stderr, flush=True)
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
    print(f"\nreport: {Path(options.out) / 'report.html'}   models: {Path(options.out) / 'models'}")


_SHORT = {
    "size_bytes": "bytes",
    "gzip_bytes": "gzip",
    "parameters": "weights",
    "macs": "MACs",
    "latency_ms": "median",
    "latency_iqr_ms": "IQR",
    "latency_p90_ms": "p90",
    "speedup": "faster",
    "peak_memory_bytes": "memory",
    "load_ms": "load",
    "energy_mj": "energy",
}


def _print_footprints(files: list[Path], found: Sequence[Any]) -> None:
    from flyweight.report.units import MISSING, cost, times

    rows = [["", *_SHORT.values()]]
    for path, footprint in zip(files, found, strict=True):
        values = {name: getattr(footprint, name) for name in _SHORT}
        told = [times(v) if name == "speedup" else cost(name, v) for name, v in values.items()]
        rows.append([path.name, *told])
    columns = [c for c in zip(*rows, strict=True) if any(cell != MISSING for cell in c[1:])]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
    for reason in dict.fromkeys(f"{name} not measured: {why}" for f in found for name, why in f.why.items()):
        print(reason)


def _batched(array: Any, port: Any) -> Any:
    import numpy as np

    # One example without its batch dimension is what people save; a float64 array is what numpy makes of lists.
    if array.ndim == len(port.shape) - 1:
        array = array[None]
    wanted = np.dtype(port.dtype)
    return array.astype(wanted) if array.dtype != wanted and array.dtype.kind == wanted.kind else array


def _print_output(name: str, array: Any, top: int) -> None:
    print(f"{name}: {array.dtype}{list(array.shape)}")
    for index, row in enumerate(array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)):
        best = row.argsort()[::-1][:top]
        print(f"  {index}: " + "  ".join(f"[{place}] {row[place]:.6g}" for place in best))


def _version(library: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(library)
    return None


def _runtime(name: str) -> str:
    version = _version(name)
    return f"available, {version}" if version and not _absent(name) else "not installed"


def _absent(module: str) -> bool:
    return importlib.util.find_spec(module) is None
