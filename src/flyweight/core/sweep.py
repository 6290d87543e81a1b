"""Clearing away what processes that were killed left half written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from flyweight.core.atomic import written_by
from flyweight.core.errors import FlyweightError
from flyweight.core.owner import lives


def sweep(folder: Path) -> None:
    """Deletes the temporary files under ``folder`` whose processes are dead.

    A temporary file carries its process in its name, so several processes may sweep at once while others write. What
    another host is writing stays, for nobody here can tell whether it lives; so does what cannot be deleted.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            told = written_by(name)
            if told is None:
                continue
            with contextlib.suppress(OSError, FlyweightError):
                if not lives(told):
                    Path(place, name).unlink()
