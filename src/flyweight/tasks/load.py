"""From what a user types to a task: a name that comes with the package, or a file of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from flyweight.core.errors import TaskError, UnknownNameError, unknown_name
from flyweight.core.task import Task

BUILT_IN = {
    "fashion-mini": "flyweight.tasks.fashion_mini.fashion_mini",
    "fashion": "flyweight.tasks.fashion.fashion",
    "cifar10": "flyweight.tasks.cifar10.cifar10",
    "movie-reviews": "flyweight.tasks.movie_reviews.movie_reviews",
}


def load_task(name: str) -> Task:
    """The task ``name``: a built-in one, or ``path/to/file.py:attribute`` (``:task`` where no attribute is named).

    The attribute is a :class:`Task`, or a function that takes no arguments and returns one. The file is imported as
    a module of its own name, with its folder on the search path, as Python does with a script; so a child process that
    loads the same task finds the same classes and functions under the same dotted names.
    Raises :class:`UnknownNameError` for an unknown name, with the nearest; :class:`TaskError` where there is no such
    file, it cannot be imported, or what it holds is no task.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].rpartition(".")
        task: Task = getattr(importlib.import_module(module), attribute)()
        return task
    place, colon, attribute = name.rpartition(":")
    if not colon:
        place, attribute = name, "task"
    if not place.endswith(".py"):
        raise UnknownNameError(
            f"{unknown_name('task', name, BUILT_IN)} Your own is given as path/to/file.py:attribute."
        )
    return _task(_import(Path(place)), attribute or "task", name)


def _import(path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        there = f"In {path.parent} there are: {', '.join(near[:8])}." if near else "Its folder holds no Python files."
        raise TaskError(f"TaskError: there is no file {path}. {there}")
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and _file(known) == path.resolve():
        return known
    if not name.isidentifier() or known is not None or _elsewhere(name, path):
        raise TaskError(
            f"TaskError: {path} cannot be imported as {name!r}, for that is "
            f"{'another module' if name.isidentifier() else 'no name of a module'}. Rename the file, as in my_task.py."
        )
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise TaskError(f"TaskError: {path} cannot be imported: {type(error).__name__}: {error}.") from error


def _elsewhere(name: str, path: Path) -> bool:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return True
    return found is not None and found.origin is not None and Path(found.origin).resolve() != path.resolve()


def _file(module: ModuleType) -> Path | None:
    name = getattr(module, "__file__", None)
    return None if name is None else Path(name).resolve()


def _task(module: ModuleType, attribute: str, name: str) -> Task:
    if not hasattr(module, attribute):
        raise unknown_name(f"attribute of {module.__file__}", attribute, _candidates(module))
    value: Any = getattr(module, attribute)
    if isinstance(value, Task):
        return value
    if inspect.isroutine(value):
        try:
            inspect.signature(value).bind()
        except TypeError as error:
            raise TaskError(
                f"TaskError: {name} is a function that wants arguments ({error}). Give them defaults, or name a Task."
            ) from error
        value = value()
    if not isinstance(value, Task):
        raise TaskError(
            f"TaskError: {name} is no task but {type(value).__name__}. "
            "It must be a flyweight.Task, or a function without arguments that returns one."
        )
    return value


def _candidates(module: ModuleType) -> list[str]:
    own = {n: v for n, v in vars(module).items() if not n.startswith("_")}
    return [
        n for n, v in own.items() if isinstance(v, Task) or (inspect.isfunction(v) and v.__module__ == module.__name__)
    ]
