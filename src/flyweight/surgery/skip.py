"""A gate around a whole layer: it lets its input pass where the layer is not kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.walk import replace_


class Skip(nn.Module):
    """``inner(x, …)`` where it is kept, else ``x`` itself, exactly.

    ``inner`` gives a tensor of the shape of its first input. Attributes that this module lacks are those of ``inner``.
    """

    keep: Tensor

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("keep", torch.tensor(True))
        self._keep = True  # asked for in every forward pass, which must not wait for the device

    @property
    def kept(self) -> bool:
        """Whether the layer is kept."""
        return self._keep

    @property
    def undecided(self) -> bool:
        """Whether a training has yet to decide."""
        return any(getattr(child, "pending", False) for child in self.children())

    def set(self, keep: bool) -> None:
        """Keeps the layer, or not."""
        self._keep = keep
        self.keep.fill_(keep)

    def forward(self, x: Any, *others: Any, **named: Any) -> Any:
        """The layer's output, or its first input."""
        if isinstance(x, fx.Proxy) and self.undecided:
            raise UnsupportedError(
                "a training has yet to decide whether this layer stays; take Train(epochs=…) before the step that "
                "traces"
            )
        if self._keep:
            return self.inner(x, *others, **named)
        if self.training and torch.distributed.is_available() and torch.distributed.is_initialized():
            # Processes that train together wait for a gradient of every parameter, be it zero.
            return x + sum((p.sum() * 0 for p in self.inner.parameters() if p.requires_grad), x.new_zeros(()))
        return x

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "inner" or name.startswith("__"):  # how a copy is made of it is the gate's own affair
                raise
            return getattr(self.inner, name)

    def extra_repr(self) -> str:
        """Nothing that changes in training, for two models of one structure read alike."""
        return ""

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._keep = bool(self.keep)


class PassThrough(nn.Module):
    """What stands where a layer was taken out: its first input, whatever else it is called with."""

    def forward(self, x: Any, *others: Any, **named: Any) -> Any:
        """``x``."""
        return x


def remove_skips_(model: nn.Module) -> list[str]:
    """Takes every gate out: layers that are kept stand in its place, the others leave the model, and are named."""
    gone = []
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, Skip)]
    for name, skip in reversed(found):  # gates inside others first
        replace_(model, name, skip.inner if skip.kept else PassThrough())
        if not skip.kept:
            gone.append(name)
    return gone[::-1]
