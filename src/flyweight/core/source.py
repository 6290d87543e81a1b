"""What a piece of the user's code says, as text that is the same in every process and other when the code is."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from flyweight.core.errors import FlyweightError
from flyweight.core.serial import find

BY_CODE = "by_code"
"""In the metadata of a dataclass field of callables: they count by their own code, for their state changes in use."""

_DEEP = 6
"""How far helpers of helpers and objects within objects are followed."""

_LIBRARIES = ("flyweight.", "torch.", "numpy.", "builtins.", "functools.")
"""Code of these goes by its name: its version is in the key, or changes no result on purpose."""


def source(thing: Any) -> str:
    """The code and the settings of ``thing``: a function, a partial, a class, a module, an object, or plain data.

    Functions bring their closures, their defaults and the user's functions and classes that they name; objects bring
    their class and their attributes. No address and no hash of an object enters, so the text holds across processes.
    """
    return "\n".join(_told(thing, set(), 0))


def classes_source(model: nn.Module) -> str:
    """The code of every class of which ``model`` is made, torch's own left out."""
    seen: set[int] = set()
    kinds = sorted({type(m) for m in model.modules()}, key=lambda k: f"{k.__module__}.{k.__qualname__}")
    return "\n".join(text for kind in kinds for text in _code(kind, seen, 0))


def steps_source(names: Any) -> str:
    """The code behind every ``{"use": dotted name}`` in a step's JSON that is no part of flyweight."""
    texts: list[str] = []
    for name in sorted(set(_used(names))):
        with contextlib.suppress(FlyweightError):  # what no name finds is told by its name, which stands in the JSON
            texts += _code(find(name), set(), 0)
    return "\n".join(texts)


def _told(thing: Any, seen: set[int], deep: int) -> Iterator[str]:
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        yield repr(thing)
    elif isinstance(thing, Tensor):
        yield f"tensor {tuple(thing.shape)} {thing.dtype} {thing.detach().double().sum().item()!r}"
    elif isinstance(thing, functools.partial):
        yield from _told((thing.func, thing.args, thing.keywords), seen, deep)
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from _told(item, seen, deep)
    elif isinstance(thing, dict):
        for key in sorted(thing, key=str):
            yield str(key)
            yield from _told(thing[key], seen, deep)
    elif isinstance(thing, set | frozenset):
        yield from sorted(text for item in thing for text in _told(item, seen, deep))
    elif inspect.isroutine(thing) or inspect.isclass(thing):
        yield from _code(thing, seen, deep)
        if inspect.ismethod(thing):
            yield from _told(thing.__self__, seen, deep)
    elif deep < _DEEP and id(thing) not in seen and not inspect.ismodule(thing):
        seen.add(id(thing))
        yield from _code(type(thing), seen, deep)
        slots = {n: getattr(thing, n) for n in getattr(type(thing), "__slots__", ()) if hasattr(thing, n)}
        if isinstance(thing, nn.Module):
            slots |= dict(thing.state_dict())
            yield repr(thing)
        elif not _by_name(type(thing)) or hasattr(thing, "__dataclass_fields__"):
            fields = getattr(type(thing), "__dataclass_fields__", {})
            for name, value in getattr(thing, "__dict__", {}).items():
                if name in fields and fields[name].metadata.get(BY_CODE):
                    yield from map(_body, value)
                else:
                    slots[name] = value
        yield from _told(slots, seen, deep + 1)


def _body(thing: Any) -> str:
    thing = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
    name = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
    try:
        return f"{name} {inspect.getsource(thing)}"
    except (OSError, TypeError):
        return name


def _code(thing: Any, seen: set[int], deep: int) -> Iterator[str]:
    thing = inspect.unwrap(thing) if callable(thing) else thing
    yield f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
    if id(thing) in seen or deep > _DEEP or _by_name(thing):
        return
    seen.add(id(thing))
    try:
        yield inspect.getsource(thing)
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        if code is not None:
            yield code.co_code.hex() + repr([c for c in code.co_consts if not inspect.iscode(c)])
    if inspect.isclass(thing):
        bodies = [f for _, f in sorted(vars(thing).items()) if inspect.isfunction(f)]
        for base in thing.__mro__[1:]:
            yield from _code(base, seen, deep + 1)
    else:
        bodies = [thing]
        yield from _told(getattr(thing, "__defaults__", None), seen, deep + 1)
        yield from _told(getattr(thing, "__kwdefaults__", None), seen, deep + 1)
    for body in bodies:
        yield from _named(body, seen, deep)


def _named(function: Any, seen: set[int], deep: int) -> Iterator[str]:
    """What ``function`` closes over, and the user's own functions, classes and constants that it names."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield from _told(cell.cell_contents, seen, deep + 1)
        except ValueError:  # a cell that is still empty
            continue
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    for name in sorted(set(code.co_names)) if code is not None else ():
        value = names.get(name)
        if inspect.isroutine(value) or inspect.isclass(value):
            yield from _code(value, seen, deep + 1)
        elif isinstance(value, bool | int | float | str | tuple):
            yield f"{name}={value!r}" if not callable(value) else name


def _by_name(thing: Any) -> bool:
    module = f"{getattr(thing, '__module__', None) or 'builtins'}."
    return module.startswith(_LIBRARIES) or inspect.isbuiltin(thing) or _installed(module[:-1])


def _installed(module: str) -> bool:
    path = getattr(sys.modules.get(module), "__file__", None)
    return path is not None and ("site-packages" in path or path.startswith((sys.base_prefix, sys.prefix)))


def _used(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        name = value.get("use")
        if isinstance(name, str) and not name.startswith(_LIBRARIES):
            yield name
        for item in value.values():
            yield from _used(item)
    elif isinstance(value, list):
        for item in value:
            yield from _used(item)
