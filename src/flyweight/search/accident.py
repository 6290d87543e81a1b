"""Which rows of a run are tried again."""

from __future__ import annotations

from flyweight.core import errors
from flyweight.core.point import Point


def accident(point: Point) -> bool:
    """Whether ``point`` has no model for a reason that may not hold next time: no error of ours, or left out before.

    A library that was missing may have been installed since.
    """
    if point.failure is None:
        return False
    name = point.failure.partition(":")[0]
    return name == "MissingExtraError" or not hasattr(errors, name)
