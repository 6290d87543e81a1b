"""A model held still: in evaluation mode, and afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def still(model: Any) -> Iterator[None]:
    """Puts ``model`` in evaluation mode, without gradients, and each of its modules back as it was at the end.

    What is no module (a session, a function) is left alone.
    """
    modes = {m: m.training for m in model.modules()} if isinstance(model, nn.Module) else {}
    if isinstance(model, nn.Module):
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
