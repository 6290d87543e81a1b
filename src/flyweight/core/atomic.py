"""Writing a file so that a reader, or a run killed half-way, never sees half of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flyweight.core.errors import StoreError
from flyweight.core.owner import owner

_MARK = re.compile(r"^\..*\.~([^~]+~\d+~[\d.]+)~\w+(\..*)?$")
"""The name of a temporary file: hidden, and with its process between tildes."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, which becomes ``path`` when the block ends well.

    The file is flushed to the disk before the rename, so after a crash ``path`` is the old file or
    the new one, whole; :mod:`flyweight.core.sweep` clears away the temporary file. Raises :class:`StoreError`
    for a folder that cannot be written or a full disk.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = f".{path.name}.~{owner().replace(' ', '~')}~"
        handle, name = tempfile.mkstemp(prefix=mark, suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise store_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise store_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def written_by(name: str) -> str | None:
    """The process, as :func:`~flyweight.core.owner.owner` tells it, that a temporary file of ``name`` belongs to.

    None for a name that :func:`atomic_path` did not give.
    """
    found = _MARK.match(name)
    return None if found is None else found[1].replace("~", " ")


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` to ``path`` atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` to ``path`` atomically, as JSON that a person can read."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON from ``path``; raises :class:`StoreError` where the file is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"StoreError: {path} cannot be read as JSON ({error}). flyweight writes whole files, so something "
            "else changed it: delete it and run the same command again; what else was kept stays."
        ) from error


def store_error(path: Path, error: OSError) -> StoreError:
    """The :class:`StoreError` that explains ``error``, met at ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what, way = "the disk is full", "Free some space and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what, way = "the folder is not writable", "Choose another folder with --out, or mend its permissions"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        what, way = "a file stands where a folder is needed", "Choose another folder with --out"
    else:
        what, way = str(error), "Check the path"
    return StoreError(f"StoreError: cannot write {path}: {what}. {way}; nothing that was kept is lost.")
