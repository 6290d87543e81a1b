"""Where results are kept: one folder of whole files, keyed by task, parent and step."""

from __future__ import annotations

import contextlib
import contextvars
import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn

from flyweight.core.atomic import read_json, store_error, write_json
from flyweight.core.crew import crew
from flyweight.core.errors import StoreError
from flyweight.core.serial import to_json
from flyweight.core.step import Step
from flyweight.core.sweep import sweep
from flyweight.core.weights import load_state, save_state

_FORMAT = 1
_scratch: contextvars.ContextVar[Path | None] = contextvars.ContextVar("flyweight_scratch", default=None)


def scratch() -> Path | None:
    """A folder for the step in progress, where it may leave checkpoints; None where nothing is kept.

    What a killed run left there is still there when the same step is tried again; it goes when the step is done.
    """
    return _scratch.get()


def shelf(name: str) -> Path | None:
    """A folder of the store for what steps share, such as a teacher's outputs; None where nothing is kept."""
    here = _scratch.get()
    return None if here is None else here.parent.parent / name


class Store:
    """Results of steps under ``folder``; safe against kills, and shared by several processes.

    ``steps/<key>.safetensors`` holds a model's state and ``steps/<key>.json`` the step, its seconds and its notes.
    The JSON is written last: it says that the result is whole. Opening a store clears away what killed processes left
    half written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        mark = self.folder / "flyweight.json"
        try:
            # Another process may be writing the mark this very moment.
            ours = ("flyweight.json", ".flyweight.json.")
            occupied = self.folder.exists() and not all(p.name.startswith(ours) for p in self.folder.iterdir())
        except OSError as error:
            raise store_error(self.folder, error) from error
        if mark.exists():
            found = read_json(mark)
            if not isinstance(found, dict) or found.get("format") != _FORMAT:
                raise StoreError(
                    f"StoreError: {mark} is of format {found!r}, and this flyweight reads format {_FORMAT}. "
                    "Use another --out."
                )
            sweep(self.folder)
        elif occupied:
            raise StoreError(
                f"StoreError: {self.folder} holds files that flyweight did not put there. "
                "Choose an empty or a new folder with --out; nothing in it was touched."
            )
        else:
            write_json(mark, {"format": _FORMAT})

    def has(self, key: str) -> bool:
        """Whether the result of ``key`` is kept, whole."""
        return self._note(key).exists() and self._weights(key).exists()

    def load(self, key: str) -> dict[str, Tensor]:
        """The state kept under ``key``."""
        return load_state(self._weights(key))

    def notes(self, key: str) -> tuple[str, ...]:
        """What the step of ``key`` noted when it was taken; nothing where its result is not kept."""
        try:
            told = read_json(self._note(key)) if self.has(key) else {}
        except StoreError:  # the result itself is another file, and whole
            return ()
        return tuple(told.get("notes", ()))

    def keep(
        self, key: str, parent: str, step: Step, model: nn.Module, seconds: float, notes: Sequence[str] = ()
    ) -> None:
        """Keeps ``model`` as the result of ``step``, with its ``notes``, then drops the step's scratch folder.

        Of several processes that train together, the first one writes.
        """
        if crew()[0] > 0:
            return
        save_state(model.state_dict(), self._weights(key))
        told = {"step": to_json(step), "parent": parent, "seconds": round(seconds, 3), "at": time.time()}
        told |= {"notes": list(dict.fromkeys(notes))} if notes else {}
        write_json(self._note(key), told)
        with contextlib.suppress(OSError), (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"key": key, "step": type(step).__name__, "seconds": round(seconds, 3)}) + "\n")
        shutil.rmtree(self._progress(key), ignore_errors=True)

    @contextlib.contextmanager
    def working(self, key: str) -> Iterator[None]:
        """Holds ``key`` for this process, so that of several workers one makes the result and the others wait.

        The lock is the kernel's: it goes with the process, however that ends.
        """
        try:
            self._progress(key).mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "progress" / f"{key}.lock").open("w")
        except OSError as error:
            raise store_error(self.folder, error) from error
        token = _scratch.set(self._progress(key))
        try:
            if crew()[0] == 0:  # the others of a crew work on the same key, and wait for the first elsewhere
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._progress(key).mkdir(parents=True, exist_ok=True)
            yield
        finally:
            _scratch.reset(token)
            lock.close()

    def _weights(self, key: str) -> Path:
        return self.folder / "steps" / f"{key}.safetensors"

    def _note(self, key: str) -> Path:
        return self.folder / "steps" / f"{key}.json"

    def _progress(self, key: str) -> Path:
        return self.folder / "progress" / key
