"""Whether something can be called as a plug is, before anything is trained."""

from __future__ import annotations

import inspect
from typing import Any


def takes(thing: Any, count: int) -> bool:
    """Whether ``thing`` is a callable of ``count`` positional arguments: an instance or a function, and no class.

    >>> takes(len, 1), takes(lambda x, y: x, 3), takes(int, 1), takes("len", 1)
    (True, False, False, False)
    """
    if isinstance(thing, type) or not callable(thing):
        return False
    try:
        inspect.signature(thing).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # of some builtins nothing is known
        return True
    return True
