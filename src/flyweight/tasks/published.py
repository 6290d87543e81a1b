"""A published data set as files: where they are looked for, how each is fetched, and how each is checked."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flyweight.core.errors import StoreError, TaskError

_BROKEN = (OSError, http.client.HTTPException, EOFError, zlib.error, tarfile.TarError, StoreError)
"""What a network, a disk or an archive that breaks off raises."""


@dataclass(frozen=True)
class Published:
    """The data set ``name``, whose files lie in a folder that is called ``folder`` in caches.

    ``ways`` tells a user how to come by the files, and stands in every error. ``mistaken`` is what is known to go by
    the same names.
    """

    name: str
    folder: str
    ways: str
    mistaken: str = ""

    def cache(self) -> Path:
        """Where a download goes: ``$XDG_CACHE_HOME/flyweight`` or ``~/.cache/flyweight``, and there ``folder``."""
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "flyweight" / self.folder

    def place(self, named: Path | str | None, files: Iterable[str], usual: Sequence[Path] = ()) -> Path | None:
        """The folder that holds all ``files``: ``named``, else ``$FLYWEIGHT_DATA``, or ``folder`` in either.

        Where neither is given, one of the ``usual`` places or the cache; None where it is in none of them. Raises
        :class:`TaskError` where a folder was given and lacks a file.
        """
        given, wanted = named or os.environ.get("FLYWEIGHT_DATA"), list(files)
        if not given:
            return next((place for place in (*usual, self.cache()) if not _missing(place, wanted)), None)
        first = Path(given).expanduser()
        place = min((first, first / self.folder), key=lambda one: len(_missing(one, wanted)))
        lacks = _missing(place, wanted)
        if not lacks:
            return place
        of = "" if named else f" (FLYWEIGHT_DATA={given})"
        if not first.is_dir():
            raise TaskError(f"TaskError: {first}{of} is no folder. {self.ways}")
        raise TaskError(f"TaskError: {place}{of} does not hold {', '.join(lacks)}. {self.ways}")

    def read(self, path: Path) -> bytes:
        """What the file ``path`` holds; raises :class:`TaskError` where it cannot be read."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise TaskError(f"TaskError: {path} cannot be read ({error.strerror}). {self.ways}") from error

    def check(self, content: bytes, where: Path | str, digest: str) -> bytes:
        """``content``, whose SHA-256 must be ``digest``; else :class:`TaskError`, which calls the file ``where``."""
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            known = f" ({self.mistaken})" if self.mistaken else ""
            kept = isinstance(where, Path) and where.parent == self.cache()
            mend = "Delete it, and it is downloaded again. " if kept else ""
            raise TaskError(
                f"TaskError: {where} is not {self.name}'s{known}, or is damaged: the SHA-256 of its content is "
                f"{found}, and should be {digest}. {mend}{self.ways}"
            )
        return content

    @contextlib.contextmanager
    def fetched(self, url: str) -> Iterator[IO[bytes]]:
        """What ``url`` answers, to be read and kept in the cache; a bar on the terminal shows how far it is.

        Raises :class:`TaskError` where there is no network, or where anything breaks off in the block.
        """
        from tqdm.auto import tqdm

        quiet = not sys.stderr.isatty() or bool(os.environ.get("NO_PROGRESS"))
        shown = {"desc": self.name, "unit": "B", "unit_scale": True, "leave": False, "disable": quiet}
        try:
            with (
                urllib.request.urlopen(url, timeout=60) as answer,
                tqdm.wrapattr(answer, "read", total=getattr(answer, "length", None), **shown) as counted,
            ):
                yield counted
        except _BROKEN as error:
            raise TaskError(f"TaskError: cannot download {url} to {self.cache()} ({error}). {self.ways}") from error


def _missing(place: Path, files: Iterable[str]) -> list[str]:
    return [name for name in files if not (place / name).is_file()]
