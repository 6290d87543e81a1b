"""Keys hold across processes, and change with the code that they stand for."""

import functools
import importlib.util
import subprocess
import sys
import textwrap

import pytest
import torch

from flyweight.core.source import classes_source, source

BEFORE = """
    import functools, torch
    from torch import nn
    FACTOR = 2.0
    def helper(x):
        return FACTOR * x
    def loss(forward, batch):
        return helper(forward(batch[0])).sum()
    def make(width):
        def family(w):
            return nn.Linear(width, 2)
        return family
    class Block(nn.Module):
        def forward(self, x):
            return helper(x)
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()
        def forward(self, x):
            return self.block(x)
    class Metric:
        def __init__(self, k):
            self.k = k
        def __call__(self, forward, batches):
            return self.k
"""


def load(folder, text, name="theirs"):
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def told(tmp_path):
    def tell(text, what):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return what(load(folder, text))

    return tell


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2.0", "FACTOR = 3.0"),
        ("return FACTOR * x", "return -FACTOR * x"),
        ("def helper(x)", "def helper(x, y=1)"),
    ],
)
def test_what_a_function_reaches_counts(told, old, new):
    for what in (lambda m: source(m.loss), lambda m: classes_source(m.Net())):
        assert told(BEFORE, what) == told(BEFORE, what) != told(BEFORE.replace(old, new), what)


def test_closures_partials_and_objects_count_by_their_values(told):
    for what in (
        lambda m, k: source(m.make(k)),
        lambda m, k: source(functools.partial(m.helper, k)),
        lambda m, k: source(m.Metric(k)),
        lambda m, k: source(m.Metric(torch.full((2,), float(k)))),
    ):
        assert told(BEFORE, lambda m, w=what: w(m, 3)) == told(BEFORE, lambda m, w=what: w(m, 3))
        assert told(BEFORE, lambda m, w=what: w(m, 3)) != told(BEFORE, lambda m, w=what: w(m, 5))


def test_the_same_text_in_another_process(tmp_path):
    (tmp_path / "theirs.py").write_text(textwrap.dedent(BEFORE))
    code = (
        "import functools, theirs; from flyweight.core.source import source, classes_source; "
        "print(source([theirs.Metric(3), functools.partial(theirs.make, 2), theirs.make(4), {1, 2, 'a'}]),"
        " classes_source(theirs.Net()))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert "0x" not in runs[0]


def test_objects_that_hold_each_other_end():
    class Ring:
        pass

    ring = Ring()
    ring.self = ring
    assert "Ring" in source(ring)
