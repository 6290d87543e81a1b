"""What a step has to tell that is no error: a warning to who called it, a note on the point of a search."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import warnings
from collections.abc import Iterator

from flyweight.core.crew import crew

_collected: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("flyweight_notes", default=None)


def note(text: str) -> None:
    """Tells ``text``: to the innermost :func:`noted` around it, else as a ``UserWarning`` at the user's own line.

    ``run`` keeps a step's notes with its result in the store and tells them again when that is found there, and a
    search puts them on the candidate's point.
    """
    found = _collected.get()
    if found is not None:
        found.append(text)
    elif crew()[0] == 0:
        warnings.warn(text, stacklevel=_outside())


@contextlib.contextmanager
def noted() -> Iterator[list[str]]:
    """The notes that are told within the block, in a list that fills."""
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def _outside() -> int:
    """How many calls lie between :func:`note` and who called the package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "flyweight":
        level, frame = level + 1, frame.f_back
    return level
