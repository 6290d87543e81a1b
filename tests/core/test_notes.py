"""Notes: a warning at the user's line, or whoever collects them; kept with a step's result."""

import json
import warnings
from dataclasses import dataclass

import pytest
from torch import nn

from flyweight.core.notes import note, noted
from flyweight.core.recipe import run
from flyweight.core.step import Step
from flyweight.core.store import Store


@dataclass(frozen=True)
class Told(Step):
    """Notes its texts."""

    texts: tuple[str, ...]

    def edit(self, model, task):
        for text in self.texts:
            note(text)
        return model


def test_alone_it_is_a_warning_at_the_line_that_called_the_package(tiny_task):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run([Told(("odd",))], tiny_task.model, tiny_task)
    assert [(str(w.message), w.category, w.filename) for w in found] == [("odd", UserWarning, __file__)]


def test_of_several_processes_the_first_one_warns(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        note("odd")
    with noted() as told:
        note("odd")
    assert told == ["odd"]


def test_the_innermost_collects():
    with noted() as outer:
        note("a")
        with noted() as inner:
            note("b")
        note("c")
    assert (outer, inner) == (["a", "c"], ["b"])
    with pytest.warns(UserWarning, match="d"):
        note("d")


def test_what_a_kept_step_noted_is_told_again(tiny_task, tmp_path):
    recipe = [Told(("a", "a", "b")), Told(()), Told(("c",))]
    store = Store(tmp_path)
    with noted() as told:
        run(recipe, tiny_task.model, tiny_task)
    assert told == ["a", "a", "b", "c"]
    for steps, wanted in ((recipe[:2], {"a", "b"}), (recipe, {"a", "b", "c"}), (recipe, {"a", "b", "c"})):
        with noted() as told:
            run(steps, tiny_task.model, tiny_task, store)
        assert set(told) == wanted
    kept = [json.loads(path.read_text()) for path in (tmp_path / "steps").glob("*.json")]
    assert sorted(one.get("notes", []) for one in kept) == [[], ["a", "b"], ["c"]]
    with pytest.warns(UserWarning, match="^[abc]$"):
        run(recipe, tiny_task.model, tiny_task, store)


def test_a_note_that_cannot_be_read_is_no_reason_to_fail(tiny_task, tmp_path):
    recipe, store = [Told(("a",)), Told(("b",))], Store(tmp_path)
    with noted():
        run(recipe, tiny_task.model, tiny_task, store)
    for path in (tmp_path / "steps").glob("*.json"):
        if json.loads(path.read_text())["notes"] == ["a"]:
            path.write_text("{")
    with noted() as told:
        assert isinstance(run(recipe, tiny_task.model, tiny_task, store), nn.Module)
    assert told == ["b"]
