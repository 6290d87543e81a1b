"""The time limit of a search: no new candidate after it, and none that runs far over it."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flyweight.core.errors import FlyweightError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


class TimeUp(KeyboardInterrupt):
    """Raised in the midst of a candidate that ran far over the limit; what was finished is kept, as at Ctrl-C."""


@dataclass(frozen=True)
class Clock:
    """Counts from its making; ``limit`` and ``grace`` are seconds, and a ``limit`` of None never ends.

    A candidate that is running at the limit gets ``grace`` more (a tenth of the limit, 10 s at least), for most of
    what is under way then ends well.
    """

    limit: float | None = None
    start: float = field(default_factory=time.monotonic)

    @property
    def grace(self) -> float:
        """Seconds that a running candidate may take beyond the limit."""
        return max(10.0, 0.1 * (self.limit or 0.0))

    @property
    def over(self) -> bool:
        """Whether the limit has passed."""
        return self.limit is not None and time.monotonic() - self.start >= self.limit

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Raises :class:`TimeUp` in the block where it runs past limit and grace.

        It needs the alarm of the main thread; in another thread, or where the caller uses the alarm, the block runs on.
        """
        usable = threading.current_thread() is threading.main_thread() and signal.getitimer(signal.ITIMER_REAL)[0] == 0
        if self.limit is None or not usable:
            yield
            return
        left = self.limit + self.grace - (time.monotonic() - self.start)
        before = signal.signal(signal.SIGALRM, _ring)
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def seconds(text: str | float | None) -> float | None:
    """``"20m"``, ``"90"``, ``"1h30m"`` or a number as seconds; None stays None. Raises :class:`FlyweightError`.

    >>> seconds("1h30m")
    5400.0
    """
    if text is None:
        return None
    whole = str(text).strip().lower()
    parts = _FORM.findall(whole)
    value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if _FORM.sub("", whole).strip() or not parts or value <= 0:
        raise FlyweightError(
            f"FlyweightError: {text!r} is no time limit. Give seconds, or a number with s, m, h or d, as in '20m' or "
            "'1h30m'."
        )
    return value


def _ring(number: int, frame: Any) -> None:
    raise TimeUp("the time limit has passed")
