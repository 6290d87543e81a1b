"""One operation of the graph, its arguments by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from flyweight.surgery.couple.trace import Trace
from flyweight.surgery.couple.value import Value, Weight


@dataclass(frozen=True, eq=False)
class Call:
    """A node whose arguments are known. ``arguments`` are by the names of the operation's schema."""

    trace: Trace
    node: fx.Node
    name: str
    module: str
    arguments: dict[str, Any]
    concrete: Callable[[fx.Node], Tensor | None]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def shape(self) -> torch.Size:
        """The shape of the (first) result."""
        told = self.node.meta["val"]
        while isinstance(told, tuple | list):
            told = told[0]
        return torch.Size(told.shape)

    @property
    def why(self) -> str:
        """The operation and its layer, as they stand in a reason."""
        where = f"layer {self.module!r}" if self.module else "the model's own forward"
        return f"{self.name} of {where}"

    def input(self, name: str = "input") -> Value:
        """The argument ``name`` as an activation; ``input`` is also what torch calls ``self``."""
        if name not in self.arguments:
            name = "self"
        return self.trace.value(self.arguments[name], self.module)

    def tensors(self) -> list[Value | Weight]:
        """All arguments that are tensors."""
        found: list[Value | Weight] = []

        def collect(thing: Any) -> None:
            if isinstance(thing, Value | Weight):
                found.append(thing)
            elif isinstance(thing, tuple | list):
                for part in thing:
                    collect(part)

        for argument in self.arguments.values():
            collect(argument)
        return found
