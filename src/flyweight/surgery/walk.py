"""Finding modules by glob over their dotted names, and replacing one by its name; what several share."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn

from flyweight.core.errors import UnknownNameError, unknown_name


def walk(
    model: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Module,), exclude: Sequence[str] = ()
) -> Iterator[tuple[str, nn.Module]]:
    """The named modules of ``model`` that are of one of ``kinds``, each once, without those that ``exclude`` covers.

    Raises :class:`UnknownNameError` for a glob of ``exclude`` that matches no module.
    """
    left_out = matching(model, exclude)
    for name, module in model.named_modules():
        if isinstance(module, kinds) and not within(name, left_out):
            yield name, module


def matching(model: nn.Module, globs: Sequence[str]) -> set[str]:
    """The names of the modules that match any of ``globs``, as in ``("stem", "head.*")``.

    Raises :class:`UnknownNameError`, with the nearest name, for a glob that matches none, and for a string in place of
    several.
    """
    if not isinstance(globs, Iterable) or isinstance(globs, str):  # whose letters would be taken for globs
        way = f"({globs!r},)" if isinstance(globs, str) else 'some as in ("stem", "head.*")'
        raise UnknownNameError(f"UnknownNameError: globs come in a tuple, and here is {globs!r}. Give {way}.")
    names = [name for name, _ in model.named_modules() if name]
    found: set[str] = set()
    for glob in globs:
        hits = {name for name in names if fnmatchcase(name, glob)}
        if not hits:
            near = difflib.get_close_matches(glob, names, n=1, cutoff=0.0)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UnknownNameError(
                f"UnknownNameError: no module of {type(model).__name__} matches {glob!r}.{hint} "
                "Names are dotted, as named_modules() gives them; * matches any part."
            )
        found |= hits
    return found


def within(name: str, names: set[str]) -> bool:
    """Whether ``name`` is one of ``names``, or lies inside one of them."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in names for end in range(1, len(parts) + 1))


def shared(model: nn.Module) -> set[int]:
    """The identities of the parameters that stand in several places of ``model``."""
    places = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
    return {identity for identity, count in places.items() if count > 1}


def replace_(model: nn.Module, name: str, module: nn.Module) -> None:
    """Puts ``module`` where the sub-module ``name`` of ``model`` stands.

    Raises :class:`UnknownNameError` where there is none.
    """
    known = dict(model.named_modules(remove_duplicate=False))
    if not name or name not in known:
        raise unknown_name(f"module of {type(model).__name__}", name, [n for n in known if n])
    parent, _, child = name.rpartition(".")
    setattr(known[parent], child, module)
