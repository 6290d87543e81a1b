"""Ways of computing the same are timed together, once."""

import pytest

from flyweight.core.errors import FlyweightError
from flyweight.deploy.export.sparse import race as racing
from flyweight.deploy.export.sparse.race import Heat, race
from flyweight.measure.child import Answer
from flyweight.measure.footprint import Bench


@pytest.fixture
def asked(monkeypatch):
    """Every request for timing; a file takes as many milliseconds as it has bytes, a call of nothing one."""
    requests = []

    def ask(self, job, inputs, count=1, **more):
        requests.append(more["paths"])
        models = []
        for path in more["paths"]:
            with open(path, "rb") as file:
                size = len(file.read())
            share = {"ReorderInput": 0.25, "Conv": 0.75} if size == 9 else {"SparseConv": 1.0}
            models.append({"latency": {"median_ms": float(size)}, "time_by_op": share})
        return Answer({"empty_call_ms": 1.0, "models": models})

    monkeypatch.setattr(Bench, "ask", ask)
    monkeypatch.setattr(racing, "_known", {})
    return requests


def heat(key, *sizes):
    def write(folder):
        paths = [folder / f"{i}.onnx" for i in range(len(sizes))]
        for path, size in zip(paths, sizes, strict=True):
            path.write_bytes(b"x" * size)
        return paths

    return Heat(key, write)


def test_times_are_those_of_the_layer_alone(asked):
    # 9 ms, of which one is the call's own, and a quarter of the rest goes into another order.
    assert race([heat("a", 9, 4)]) == [(6.0, 3.0)]


def test_equal_ones_are_timed_once(asked):
    assert race([heat("a", 5, 3), heat("b", 7, 2), heat("a", 5, 3)]) == [(4.0, 2.0), (6.0, 1.0), (4.0, 2.0)]
    race([heat("b", 7, 2)])
    assert [len(paths) for paths in asked] == [4]


def test_so_many_at_once_and_those_of_one_heat_together(asked, monkeypatch):
    monkeypatch.setattr(racing, "_TOGETHER", 5)
    race([heat(i, 5, 3, 2) for i in range(3)])
    assert [len(paths) for paths in asked] == [3, 3, 3]


def test_a_process_that_died_is_told(monkeypatch):
    monkeypatch.setattr(Bench, "ask", lambda *_, **__: Answer(None, "the measuring process was killed by SIGILL"))
    monkeypatch.setattr(racing, "_known", {})
    with pytest.raises(FlyweightError, match="2 files could not be timed: the measuring process was killed by SIGILL"):
        race([heat("a", 5, 3)])
