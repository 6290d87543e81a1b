"""The example of one's own model, data and metric, as a reader would run it, only shorter."""

import ast
import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_f1_score

import flyweight as fw
from flyweight.core.serial import from_json
from flyweight.core.task import batches

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_model.py"


def _first_two(task, terms=None):
    return itertools.islice(fw.survey(widths=(0.5,))(task, terms), 2)


@pytest.fixture(scope="module")
def task():
    return fw.load_task(f"{EXAMPLE}:task")


def test_it_is_what_its_text_says(task):
    assert [len(s) for s in (task.data.train, task.data.select, task.data.report)] == [2890, 510, 680]
    kinds = torch.bincount(task.data.train.tensors[1])
    assert kinds.min() < kinds.max() / 2
    assert task.model(*task.example).shape == (2, 5)
    strides = [m.stride for m in task.model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (1, 1)]
    assert (2, 2) in strides
    assert any(m.groups > 1 for m in task.model.modules() if isinstance(m, torch.nn.Conv2d))


@given(seed=st.integers(0, 10_000), count=st.integers(5, 60))
def test_its_metric_is_macro_f1(task, seed, count):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 5, generator=generator)
    kinds = torch.cat([torch.arange(5), torch.randint(5, (count - 5,), generator=generator)])
    parts = [(logits[i : i + 7], kinds[i : i + 7]) for i in range(0, count, 7)]
    expected = multiclass_f1_score(logits, kinds, 5, average="macro").item()
    assert task.quality(lambda x: x.numpy(), parts) == pytest.approx(expected, abs=1e-6)


def test_it_uses_public_names_only():
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "fw"}
    assert used
    assert used <= set(fw.__all__)


def test_a_frontier_of_it(task, tmp_path):
    short = dataclasses.replace(task, train=dataclasses.replace(task.train, epochs=1))
    frontier = fw.optimize(short, out=tmp_path / "run", strategy=_first_two)
    assert len(frontier.points) == 3
    assert [p.failure for p in frontier.points if p.failure] == []
    assert {p.bits for p in frontier.points} == {8, 32}
    ready = {p.label: p for p in frontier.points}
    assert frontier.baseline is not None
    assert all((tmp_path / "run" / p.path).exists() for p in ready.values())
    assert all(0 <= p.quality.value <= 1 for p in ready.values())
    # The figure is the user's own metric, read from the file: the baseline's network gives the same.
    recipe = from_json(list(frontier.baseline.recipe))
    model = fw.run(recipe, short.model, short, fw.Store(tmp_path / "run")).eval()
    own = task.quality(model, batches(task.data.select))
    assert abs(own - frontier.baseline.quality.value) < 0.002


@pytest.mark.slow
def test_the_commands_in_its_text(tmp_path):
    flyweight = Path(sys.executable).with_name("flyweight")
    done = subprocess.run(
        [flyweight, "optimize", f"{EXAMPLE}:task", "--out", tmp_path / "one"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "report" in done.stdout
    assert (tmp_path / "one" / "report.html").exists()
    again = subprocess.run([sys.executable, EXAMPLE, tmp_path / "one"], capture_output=True, text=True, check=True)
    assert "At half the bytes or less" in again.stdout
    assert len(fw.Frontier.load(tmp_path / "one")) >= 3
