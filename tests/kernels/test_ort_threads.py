"""Operations run on the threads of their session, and on no others."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flyweight.kernels import library
from ort_files import file, node, opened, run, tiles

pytestmark = [
    pytest.mark.skipif(not library.available(), reason=f"no native kernels: {library.why_not()}"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux how long each thread worked"),
]

RANDOM = np.random.default_rng(0)


def worked():
    """Milliseconds of each thread of this process."""
    return {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e6
        for task in Path("/proc/self/task").iterdir()
    }


def others_share(threads):
    """How many threads other than this one joined, and their share of the work."""
    _, values, keep = tiles(RANDOM, (256, 64, 3, 3), (4, 1))
    made = node("SparseConv", "x values keep", rows=256, inputs=64, block=[4, 1], kernel_shape=[3, 3])
    # Threads that wait by sleeping, for those that spin seem to work.
    session = opened(
        file(made, {"x": None}, {"values": values, "keep": keep}), threads, session__intra_op__allow_spinning="0"
    )
    x = RANDOM.standard_normal((2, 64, 30, 30)).astype(np.float32)
    for _ in range(4):  # tiles are chosen, threads are counted
        run(session, x=x)
    shares = []
    for _ in range(5):
        before = worked()
        stop = time.perf_counter() + 0.1
        while time.perf_counter() < stop:
            run(session, x=x)
        took = {task: ms - before.get(task, 0) for task, ms in worked().items()}
        mine = took.pop(os.getpid())
        busy = [ms for ms in took.values() if ms > 0.1 * mine]  # a process has threads that look after things
        shares.append((sum(busy) / (sum(busy) + mine), len(busy)))
    return max(shares)


def test_one_thread_is_the_callers():
    assert others_share(1) == (0, 0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_two_threads_share_the_work():
    share, count = others_share(2)
    assert count == 1
    assert share > 0.2
