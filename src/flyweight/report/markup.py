"""HTML that cannot be broken by what it shows: everything is escaped unless it is markup already."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_VOID = frozenset(("br", "hr", "input", "meta"))


class Markup(str):
    """Text that is HTML already and is put in as it stands."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | int | bool | None) -> Markup:
    """An element; children that are no :class:`Markup` are escaped, attributes are always.

    ``class_`` means ``class``, and ``data_sort`` ``data-sort``; an attribute of None or False is left out.

    >>> tag("p", "a < b", tag("b", "c"), class_="x")
    '<p class="x">a &lt; b<b>c</b></p>'
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{told}>" if name in _VOID else f"<{name}{told}>{joined(*children)}</{name}>")


def section(name: str, title: str, *children: str, lead: str = "") -> Markup:
    """A section with its heading; ``lead`` explains it in a sentence."""
    head = tag("h2", title, id=f"{name}-title")
    return tag(
        "section",
        head,
        tag("p", lead, class_="lead") if lead else "",
        *children,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def joined(*children: str) -> Markup:
    """The children one after another, escaped where they are no markup."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))


def data(value: Any) -> Markup:
    """``value`` as JSON that may stand within a script element: no text in it can end the element."""
    text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
