"""Networks for the images of a task, whatever their channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def built(builder: Callable[..., Any], task: Any, seed: int, **settings: Any) -> Any:
    """The step that builds ``builder(**settings)`` for as many channels as ``task``'s images have."""
    from flyweight import Build

    channels = int(task.example[0].shape[1])
    return Build(builder, (*settings.items(), ("channels", channels)), seed)
