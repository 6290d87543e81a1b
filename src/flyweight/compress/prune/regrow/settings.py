"""The check of what all rules of regrowth have in common."""

from __future__ import annotations

from typing import Any

from flyweight.core.errors import FlyweightError


def check_settings(rule: Any, **bounds: tuple[float, float]) -> None:
    """Holds the settings of ``rule`` to what all rules share, and each of ``bounds`` to [low, high)."""
    name = type(rule).__name__
    if not isinstance(rule.every, int) or isinstance(rule.every, bool) or rule.every < 1:
        raise FlyweightError(
            f"FlyweightError: {name} got every={rule.every!r}. Give the optimizer steps from one update to the next, "
            "1 or more, as in every=100."
        )
    if not 0 < rule.until <= 1:
        raise FlyweightError(
            f"FlyweightError: {name} got until={rule.until!r}. Give the part of training in which masks change, above "
            "0 and up to 1, as in until=0.75."
        )
    for field, (low, high) in bounds.items():
        value = getattr(rule, field)
        if not low <= value < high:
            raise FlyweightError(
                f"FlyweightError: {name} got {field}={value!r}. Give a number from {low:g} to below {high:g}."
            )
