"""The door of the command line: which command was asked for, and how it ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyweight.cli.doctor import doctor
from flyweight.cli.measure import measure
from flyweight.cli.optimize import INTERRUPTED, optimize
from flyweight.cli.parser import parser, repeatable
from flyweight.cli.predict import predict
from flyweight.cli.report import report
from flyweight.core.errors import BudgetError, FlyweightError

FAILED, UNMET = 2, 3
"""Exit codes: a FlyweightError or wrong usage; a budget that nothing meets."""

_COMMANDS: dict[str, Callable[[Any], int]] = {
    "optimize": optimize,
    "measure": measure,
    "report": report,
    "predict": predict,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; a :class:`FlyweightError` is one line on stderr."""
    # Before torch starts its threads: by default they spin while they wait for one another, which made training seven
    # times slower on two cores that something else was using too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    reader = parser()
    chosen = reader.parse_args(repeatable(given))
    if chosen.command is None:
        reader.print_help()
        return 0
    options = chosen[chosen.command]
    command = _COMMANDS[chosen.command]
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


def _told(error: FlyweightError, options: Any, code: int) -> int:
    if options.get("debug"):
        raise error
    name = type(error).__name__
    text = " ".join(str(error).split())
    print(text if text.startswith(f"{name}:") else f"{name}: {text}", file=sys.stderr)
    return code
