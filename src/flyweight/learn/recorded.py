"""A forward pass that was already made."""

from __future__ import annotations

from typing import Any

from flyweight.core.task import Forward


def recorded(output: Any) -> Forward:
    """A forward that returns ``output`` for any input, so that a loss can be asked again without running the model.

    >>> recorded("logits")("whatever")
    'logits'
    """

    def forward(*inputs: Any, **named: Any) -> Any:
        return output

    return forward
