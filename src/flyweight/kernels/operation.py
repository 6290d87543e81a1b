"""How an operation of ours is told to torch: its schema, what it runs, its gradients, and its shape without values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_LIBRARY: Any = torch.library.Library("flyweight", "DEF")  # type: ignore[no-untyped-call]


def operation(
    schema: str, run: Callable[..., Tensor], twin: Callable[..., Tensor], shape: Callable[..., tuple[Any, ...]]
) -> Callable[..., Tensor]:
    """The operation ``torch.ops.flyweight.<name>`` of ``schema``, whose first argument is its input.

    ``run`` computes it of tensors that need no gradient. ``twin`` computes the same by operations of torch: it stands
    in where a gradient is asked for. ``shape`` tells the result's shape, for tracing and compiling.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    called: Any = getattr(torch.ops.flyweight, name).default
    tensors = [place for place, one in enumerate(called._schema.arguments) if "Tensor" in str(one.type)]

    def with_gradients(*arguments: Any) -> Tensor:
        if torch.is_grad_enabled():
            for place in tensors:
                if arguments[place] is not None and arguments[place].requires_grad:
                    return twin(*arguments)
        # The short way, for a second trip through the dispatcher takes longer than a small layer. Whoever traces, by a
        # mode or by tensors of a class of their own, has to be asked first.
        x = arguments[0]
        if x.__class__ is Tensor and not x.is_meta and not torch._C._len_torch_dispatch_stack():
            return run(*arguments)
        with torch._C._AutoDispatchBelowAutograd():
            result: Tensor = called(*arguments)
            return result

    def fake(*arguments: Any) -> Tensor:
        made: Tensor = arguments[0].new_empty(shape(*arguments))
        return made

    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    _LIBRARY.impl(name, with_gradients, "Autograd")
    torch.library.register_fake(f"flyweight::{name}", fake, lib=_LIBRARY)
    return called  # type: ignore[no-any-return]
