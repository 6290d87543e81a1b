"""A finished model as a folder: safetensors, recipe, metrics and a card; read back bit for bit, without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from flyweight.core.atomic import read_json, write_json, write_text
from flyweight.core.errors import StoreError
from flyweight.core.key import task_key
from flyweight.core.recipe import replay
from flyweight.core.serial import from_json, to_json
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.core.weights import load_state, save_state


def save_pretrained(
    model: nn.Module, folder: Path | str, recipe: Sequence[Step], task: Task, metrics: Mapping[str, Any] | None = None
) -> Path:
    """Writes ``model``, which ``recipe`` made of ``task.model``, to ``folder``; each file is written atomically.

    ``model.safetensors`` holds the values, ``config.json`` the task, the recipe and the metrics, ``README.md`` a card.
    """
    folder = Path(folder)
    save_state(model.state_dict(), folder / "model.safetensors")
    steps = to_json(tuple(recipe))
    told = dict(metrics or {})
    write_text(folder / "README.md", _card(task, recipe, told))
    write_json(folder / "config.json", {"task": task.name, "key": task_key(task), "recipe": steps, "metrics": told})
    return folder


def from_pretrained(folder: Path | str, task: Task, *, strict: bool = True) -> nn.Module:
    """The model that :func:`save_pretrained` wrote: its structure replayed on ``task.model``, its values loaded.

    Nothing is trained or calibrated. Raises :class:`StoreError` where ``folder`` holds no saved model, or another
    task's: of another name, or with other code or data under the same name (:func:`~flyweight.core.key.task_key`).
    With ``strict=False`` any task will do whose model has the saved structure.
    """
    folder = Path(folder)
    config = folder / "config.json"
    if not config.exists():
        raise StoreError(f"StoreError: {folder} holds no config.json. Give a folder that save_pretrained wrote.")
    told = read_json(config)
    if strict and told.get("task") != task.name:
        raise StoreError(
            f"StoreError: {folder} was saved from the task {told.get('task')!r}, and this one is {task.name!r}. "
            "Load it with the task that it came from."
        )
    if strict and told.get("key") != task_key(task):
        raise StoreError(
            f"StoreError: {folder} was saved from another task of the same name {task.name!r}: its example, data, code "
            f"or teacher have changed since (key {told.get('key')}, now {task_key(task)}). Load it with the task that "
            "it came from, or with from_pretrained(folder, task, strict=False) if the model alone matters."
        )
    return replay(from_json(told["recipe"]), task.model, task, load_state(folder / "model.safetensors"))


def _card(task: Task, recipe: Sequence[Step], metrics: Mapping[str, Any]) -> str:
    lines = [f"# A flyweight model of the task `{task.name}`", "", "Made by:", ""]
    lines += [f"{i}. `{step!r}`" for i, step in enumerate(recipe, 1)] or ["(as it came)"]
    if metrics:
        lines += ["", "| metric | value |", "|---|---|"] + [f"| {k} | {v} |" for k, v in metrics.items()]
    lines += ["", 'Load with `flyweight.from_pretrained("this folder", task)`.', ""]
    return "\n".join(lines)
