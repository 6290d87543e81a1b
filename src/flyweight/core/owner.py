"""Which process something belongs to, told so that another process can see whether that one still lives."""

from __future__ import annotations

import functools
import os

from flyweight.core.errors import FlyweightError


def owner() -> str:
    """This process: its host, its number, and when it began, for numbers are given again."""
    return _owner(os.getpid())


@functools.lru_cache(maxsize=1)
def _owner(process: int) -> str:
    import psutil

    return f"{os.uname().nodename} {process} {psutil.Process(process).create_time():.2f}"


def lives(told: str | None) -> bool:
    """Whether the process that :func:`owner` told of still lives; one of another host is taken to.

    None, and what :func:`owner` never says, is nobody. Raises :class:`FlyweightError` where the system does not tell.
    """
    import psutil

    parts = (told or "").split(" ")
    if len(parts) != 3 or not parts[1].isdigit():
        return False
    host, process, made = parts
    if host != os.uname().nodename:
        return True
    try:
        return bool(abs(psutil.Process(int(process)).create_time() - float(made)) < 1.0)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error as error:
        raise FlyweightError(f"FlyweightError: cannot tell whether process {process} still runs: {error}.") from error
