"""A published data set as files: where they are looked for, and how each is checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flyweight.core.errors import TaskError


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
        found = next((place for place in (first, first / self.folder) if not _missing(place, wanted)), None)
        if found is None:
            lacks = ", ".join(_missing(first, wanted))
            raise TaskError(f"TaskError: {first} does not hold {lacks}. {self.ways}")
        return found

    def check(self, content: bytes, where: str, digest: str) -> bytes:
        """``content``, whose SHA-256 must be ``digest``; else :class:`TaskError`, which calls the file ``where``."""
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            known = f" ({self.mistaken})" if self.mistaken else ""
            raise TaskError(
                f"TaskError: {where} is not {self.name}'s{known}, or is damaged: the SHA-256 of its content is "
                f"{found}, and should be {digest}. {self.ways}"
            )
        return content


def _missing(place: Path, files: Iterable[str]) -> list[str]:
    return [name for name in files if not (place / name).exists()]
