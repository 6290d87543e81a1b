"""The README's pruning example, run as it stands, on a task that takes a second."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import tiny
from flyweight.search import evaluate as evaluating

README = Path(__file__).resolve().parents[2] / "README.md"


def example() -> str:
    section = README.read_text(encoding="utf-8").split("## Pruning", 1)[1].split("\n## ", 1)[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(code)


def test_the_table_names_every_plug() -> None:
    section = README.read_text(encoding="utf-8").split("## Pruning", 1)[1].split("\n## ", 1)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE))
    assert list(rows) == ["scores", "structures", "distributions", "schedules"]
    for axis, told in rows.items():
        folder = README.parent / "src" / "flyweight" / "compress" / "prune" / axis
        plugs = {
            path.stem
            for path in folder.glob("*.py")
            if re.search(rf"^class {path.stem}\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        }
        assert set(re.findall(r"`(\w+)", told)) == plugs


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny.fresh_task(epochs=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flyweight.load_task", lambda name: task, raising=False)
    monkeypatch.setattr("flyweight.search.conclude._THOROUGH", 0.05)
    monkeypatch.setattr(evaluating, "_BRIEF", 0.05)
    told: dict[str, object] = {}
    exec(compile(example(), str(README), "exec"), told)
    small, sparse, frontier = told["small"], told["sparse"], told["frontier"]
    # The first layer has as many channels as one block of 8, so the second alone is halved.
    assert [tuple(w.shape)[:2] for w in weights(small)] == [(8, 1), (8, 8), (4, 32)]
    share = torch.cat([(w == 0).flatten().float() for w in weights(sparse)[1:]]).mean()
    assert share == pytest.approx(0.8, abs=0.02)
    assert "unpruned, int8" in {p.label for p in frontier.points}, "the network keeps the budget as it is"
    assert (tmp_path / "run" / "pruned" / "report.html").exists()
