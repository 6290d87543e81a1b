"""The line of a model's code at which it stopped, or at which an operation of its trace stands."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch

_HOMES = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def line_of(error: BaseException) -> str:
    """`` at net.py:12 (x.view(2, 6))``: the innermost line of neither torch nor this room that ``error`` went through.

    Empty where there is none.
    """
    return _innermost([(f.filename, f.lineno or 0, f.line or "") for f in traceback.extract_tb(error.__traceback__)])


def traced_line(stack: str) -> str:
    """The same of the ``stack_trace`` that torch.export gives to a node."""
    found = re.findall(r'^\s*File "(.*)", line (\d+), in .*\n\s*(.*)', stack, re.MULTILINE)
    return _innermost([(file, int(number), code) for file, number, code in found])


def _innermost(frames: list[tuple[str, int, str]]) -> str:
    own = [frame for frame in frames if not frame[0].startswith(_HOMES)]
    return f" at {Path(own[-1][0]).name}:{own[-1][1]} ({own[-1][2].strip()})" if own else ""
