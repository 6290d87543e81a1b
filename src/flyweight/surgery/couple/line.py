"""The line of a model's code at which it stopped."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

_HOMES = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def line_of(error: BaseException) -> str:
    """`` at net.py:12 (x.view(2, 6))``: the innermost line of neither torch nor this room that ``error`` went through.

    Empty where there is none.
    """
    own = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_HOMES)]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno} ({own[-1].line})" if own else ""
