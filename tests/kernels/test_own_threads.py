"""The library's own threads: any number of callers at once, forked children, and numbers of them that change."""

import subprocess
import sys
import textwrap

import pytest

from flyweight.core.errors import KernelsError
from flyweight.kernels.library import available, check, load

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")

LAYER = """
    import ctypes, os, threading
    import numpy as np
    from flyweight.kernels import abi
    from flyweight.kernels.library import load
    library = load()
    weight = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)
    kept = np.ascontiguousarray(weight.reshape(16, 4, 48).transpose(0, 2, 1))
    matrix = abi.Matrix(64, 48, 1, 4, 1, kept.ctypes.data, kept.size, None, 0)
    spec = abi.ConvSpec(matrix, abi.Window(1, 1, 1, 1, 1, 1, 0, 0, 0, 0), None, 0)
    layer = ctypes.c_void_p()
    assert library.fw_conv_create(ctypes.byref(spec), ctypes.byref(layer)) == 0
    x = np.random.default_rng(1).standard_normal((3, 48, 13, 11)).astype(np.float32)

    def run():
        y = np.empty((3, 64, 13, 11), np.float32)
        assert library.fw_image_run(layer, None, 3, 13, 11, x.ctypes.data, None, y.ctypes.data) == 0
        return y

    def right(y):
        return np.allclose(y, np.einsum("rc,nchw->nrhw", weight, x), atol=1e-4)
"""


def done(program):
    text = textwrap.dedent(LAYER) + textwrap.dedent(program)
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_many_callers_at_once():
    assert done("""
        library.fw_set_threads(3)
        expected, wrong = run(), []

        def often():
            for _ in range(200):
                if not np.array_equal(run(), expected):
                    wrong.append(1)

        callers = [threading.Thread(target=often) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        print(right(expected), len(wrong))
    """) == ["True", "0"]


def test_a_forked_child_has_threads_of_its_own():
    assert done("""
        library.fw_set_threads(3)
        expected = run()
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(0 if all(np.array_equal(run(), expected) for _ in range(50)) else 1)
            children.append(child)
        print(*[os.waitpid(child, 0)[1] for child in children], np.array_equal(run(), expected))
    """) == ["0", "0", "0", "True"]


def test_the_number_may_change_at_any_time():
    assert done("""
        expected = run()
        same = True
        for threads in (1, 4, 2, 8, 1, 3) * 10:
            assert library.fw_set_threads(threads) == 0 and library.fw_threads() == threads
            same = same and np.array_equal(run(), expected)
        print(same, right(expected))
    """) == ["True", "True"]


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_a_number_of_no_sense_is_told(threads):
    library = load()
    before = library.fw_threads()
    with pytest.raises(KernelsError, match=f"fw_set_threads: got {threads} threads. Give 1 to 256."):
        check(library.fw_set_threads(threads), "fw_set_threads")
    assert library.fw_threads() == before
