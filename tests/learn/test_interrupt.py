"""Ctrl-C is held back to the end of a step."""

import os
import signal
import threading

import pytest

from flyweight.learn.interrupt import deferred


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_it_waits_for_the_loop_to_ask():
    before = signal.getsignal(signal.SIGINT)
    with deferred() as interrupt:
        press()
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            interrupt.raise_if_asked()
        interrupt.raise_if_asked()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_one_acts_at_once():
    with deferred():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_it_is_not_lost_where_the_loop_never_asks():
    with pytest.raises(KeyboardInterrupt), deferred():
        press()


def test_it_does_what_was_done_before():
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with deferred() as interrupt:
            press()
            assert seen == []
            interrupt.raise_if_asked()
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_go_without():
    found = []

    def work():
        with deferred() as interrupt:
            found.append(interrupt.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
