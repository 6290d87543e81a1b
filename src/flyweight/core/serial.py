"""Steps and their plug functions as JSON, and back: a dataclass by dotted name, a function by dotted name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from pathlib import Path
from typing import Any

from flyweight.core.errors import FlyweightError, unknown_name


def to_json(value: Any) -> Any:
    """``value`` as plain JSON: a dataclass as ``{"use": dotted name, field: …}``, a function as ``{"use": name}``.

    Fields at their default are written too, so a later change of a default does not change an old recipe.
    Raises :class:`FlyweightError` for a lambda, a local function, or anything that has no name to be found by.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {"use": _dotted(type(value)), **fields}
    if inspect.isfunction(value) or inspect.isclass(value) or inspect.isbuiltin(value):
        return {"use": _dotted(value)}
    raise FlyweightError(
        f"FlyweightError: {value!r} ({type(value).__name__}) cannot be written as JSON. "
        "Make it a frozen dataclass, or a function at the top of a module."
    )


def from_json(value: Any) -> Any:
    """What :func:`to_json` wrote; lists come back as tuples."""
    if isinstance(value, list):
        return tuple(from_json(v) for v in value)
    if isinstance(value, dict):
        if "use" not in value:
            return {k: from_json(v) for k, v in value.items()}
        target = find(value["use"])
        fields = {k: from_json(v) for k, v in value.items() if k != "use"}
        if not fields and not dataclasses.is_dataclass(target):
            return target
        try:
            return target(**fields)
        except TypeError as error:
            raise FlyweightError(
                f"FlyweightError: {value['use']} does not take these fields: {error}. Written by another version?"
            ) from error
    return value


def _dotted(thing: Any) -> str:
    name = f"{thing.__module__}.{thing.__qualname__}"
    if "<" in name:
        raise FlyweightError(
            f"FlyweightError: {name} cannot be written as JSON, for nothing can find it by name. "
            "Define it at the top of a module."
        )
    return name


def find(name: str) -> Any:
    """What stands at the dotted ``name``; raises :class:`FlyweightError` where nothing does, with the nearest name."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            target: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(target, part):
                raise unknown_name(f"name in {target.__name__}", part, [n for n in dir(target) if n[0] != "_"])
            target = getattr(target, part)
        return target
    raise FlyweightError(f"FlyweightError: no module of {name!r} can be imported. Is the file that defines it here?")
