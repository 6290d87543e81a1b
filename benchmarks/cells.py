"""What the benchmarks over seeds share: cells that are made by several processes, kept as they come, and resumed.

A benchmark is a frozen dataclass ``plan`` that all cells share, a list of cells (frozen dataclasses with a ``name``),
and a function at the top of the script, ``work(plan, cell) -> rows``. Each finished cell is one file; a killed run goes
on with those that are missing. Where there are GPUs, processes take them in turn, one each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def arguments(description: str | None, out: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks over seeds have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes on two cores: fashion-mini, small and short"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--record", help="also write the JSON to this file, as in benchmarks/results/NAME.json")
    parser.add_argument("--out", default=out, help="where models, files and rows are kept")
    parser.add_argument("--jobs", type=int, default=1, help="processes; they take the GPUs in turn")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this long; what is done is kept")
    return parser


def execute(
    work: Callable[[Any, Any], Rows], plan: Any, cells: Sequence[Any], out: str, jobs: int, minutes: float
) -> tuple[Rows, dict[str, str]]:
    """The rows of every cell, kept ones read back; and which could not be made, with the reason.

    Cells are started in the order given: those that others wait for, and slow ones, first.
    """
    folder = Path(out) / f"rows-{_hash(plan)}"  # so that the rows of another plan are not taken for these
    made, missing = each(work, plan, cells, folder, jobs, minutes)
    return [row for rows in made.values() for row in rows], missing


def each(
    work: Callable[[Any, Any], Rows], plan: Any, cells: Sequence[Any], folder: Path, jobs: int, minutes: float
) -> tuple[dict[str, Rows], dict[str, str]]:
    """The rows of every cell by its name, kept in ``folder``; and which could not be made, with the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {cell.name: folder / f"{cell.name}.json" for cell in cells}
    made: dict[str, Rows] = {name: json.loads(path.read_text()) for name, path in kept.items() if path.exists()}
    todo = [cell for cell in cells if cell.name not in made]
    missing = {cell.name: "not started: out of time" for cell in todo}
    if not todo:
        return made, missing
    deadline = time.time() + 60 * minutes
    context = multiprocessing.get_context("spawn")
    counter = context.Value("i", 0)
    count = max(1, min(jobs, len(todo)))
    with context.Pool(count, _start, (counter, len(gpus()), count)) as pool:
        results = pool.imap_unordered(_made, [(work, plan, cell) for cell in todo])
        for _ in todo:
            try:
                name, found, failure = results.next(timeout=max(1.0, deadline - time.time()))
            except multiprocessing.TimeoutError:
                pool.terminate()
                break
            if failure is None:
                temporary = kept[name].with_suffix(".part")
                temporary.write_text(json.dumps(found))
                temporary.replace(kept[name])
                made[name] = found
                del missing[name]
            else:
                missing[name] = failure
            # What the report split says is for the end, when nothing is chosen any more.
            say(f"{name}: {failure or [{k: v for k, v in row.items() if k != 'report'} for row in found]}")
    return made, missing


def gpus() -> list[str]:
    """The names of the NVIDIA GPUs that this process may use; none is made busy by asking."""
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    names = [line.split(": ", 1)[1].split(" (UUID")[0] for line in told.splitlines() if line.startswith("GPU ")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return names if visible is None else names[: len([v for v in visible.split(",") if v.strip()])]


def told(plan: Any, rows: Rows, missing: dict[str, str], seconds: float, **more: Any) -> dict[str, Any]:
    """One JSON object of a run: figures, plan, rows, host and versions."""
    from flyweight.measure.host import host

    names = gpus()
    devices = ", ".join(f"{names.count(name)} × {name}" for name in sorted(set(names))) or None
    return {
        **more,
        "plan": {name: value for name, value in asdict(plan).items() if name != "out"},
        "rows": rows,
        "missing": missing,
        "seconds": round(seconds),
        "host": {**host(), "gpu": devices},
    }


def finish(args: argparse.Namespace, found: dict[str, Any], text: str) -> None:
    """Records the run where it shall be, and prints it as JSON or as ``text``."""
    if args.record:
        Path(args.record).parent.mkdir(parents=True, exist_ok=True)
        Path(args.record).write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found) if args.json else text)


def table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; floats with four figures, None as a dash."""
    cells = [[_text(value) for value in line] for line in lines]
    rows = [" | ".join(line) for line in ([*head], ["-"] * len(head), *cells)]
    return "\n".join(f"| {row} |" for row in rows)


def why(missing: dict[str, str]) -> str:
    """The cells that could not be made, each with the first sentence of its reason; nothing where none is missing."""
    if not missing:
        return ""
    told = [f"{name} ({_first_sentence(reason)})" for name, reason in sorted(missing.items())]
    return "Cells that could not be run: " + "; ".join(told) + "."


def say(text: str) -> None:
    """A line of the log, on stderr."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _first_sentence(reason: str) -> str:
    """Without the class of the error said twice; a point within a number or a name ends no sentence."""
    line = re.sub(r"^(\w+: )\1", r"\1", reason.splitlines()[0] if reason else "no reason")
    return re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0].rstrip(".")


def _hash(plan: Any) -> str:
    fields = {name: value for name, value in asdict(plan).items() if name != "out"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]


def _start(counter: Any, devices: int, processes: int) -> None:
    with counter.get_lock():
        index = counter.value
        counter.value += 1
    if devices:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        every = [v.strip() for v in visible.split(",")] if visible else [str(i) for i in range(devices)]
        os.environ["CUDA_VISIBLE_DEVICES"] = every[index % devices]
    os.environ.setdefault("NO_PROGRESS", "1")
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))


def _made(given: tuple[Callable[[Any, Any], Rows], Any, Any]) -> tuple[str, Rows, str | None]:
    work, plan, cell = given
    try:
        return cell.name, work(plan, cell), None
    except Exception as error:
        kind = f"{type(error).__name__}: "  # our own errors begin with it already
        return cell.name, [], f"{kind}{str(error).removeprefix(kind)}\n{traceback.format_exc(limit=4)}"
