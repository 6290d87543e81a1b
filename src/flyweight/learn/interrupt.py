"""Ctrl-C between two steps of training, never inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupt:
    """Remembers a SIGINT until the loop comes round; a second one acts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def raise_if_asked(self) -> None:
        """Does what SIGINT did before training began: usually raises ``KeyboardInterrupt``."""
        if not self.asked:
            return
        self.asked = False
        if callable(self._before):
            self._before(signal.SIGINT, None)
        else:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self.raise_if_asked()
        self.asked = True


@contextlib.contextmanager
def deferred() -> Iterator[Interrupt]:
    """Holds SIGINT back for the block. Outside the main thread, where Python gives no signals, it does nothing."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None):
        yield interrupt
        return
    interrupt._before = before
    signal.signal(signal.SIGINT, interrupt._note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    interrupt.raise_if_asked()
