"""Points on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyweight.core.errors import StoreError
from flyweight.core.point import Point, Score
from flyweight.search.ledger import Ledger

SCORE = Score(value=0.9, low=0.88, high=0.92, examples=100)


def test_returns_what_it_kept(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    ledger = Ledger(tmp_path)
    point = ledger.keep(Point(id="k", label="one", path="a.onnx", quality=SCORE, recipe=[{"use": "a.Step"}]))
    assert ledger.get("k") == point
    assert ledger.get("other") is None


def test_a_point_without_its_file_is_made_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.keep(Point(id="k", label="one", path="gone.onnx", quality=SCORE))
    ledger.keep(Point(id="f", label="two", failure="it broke"))
    assert ledger.get("k") is None
    assert [p.id for p in ledger.all()] == ["f"]


def test_lists_the_baseline_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for name in ("b", "a", "z"):
        ledger.keep(Point(id=name, label=name, failure="-", baseline=name == "z"))
    assert [p.id for p in ledger.all()] == ["z", "a", "b"]


@pytest.mark.parametrize("text", ["{", '{"id": 3, "label": ', "[]", '{"label": "x"}', "3"])
def test_says_which_file_is_damaged(tmp_path: Path, text: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.keep(Point(id="k", label="one", failure="-"))
    (tmp_path / "points" / "k.json").write_text(text)
    with pytest.raises(StoreError, match=r"points/k\.json .*[Dd]elete it"):
        ledger.get("k")


def test_a_half_written_file_of_a_killed_run_is_not_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.keep(Point(id="k", label="one", failure="-"))
    (tmp_path / "points" / ".k.json.abc.json").write_text("{")
    assert [p.id for p in ledger.all()] == ["k"]
