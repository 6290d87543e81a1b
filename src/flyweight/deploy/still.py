"""A model held still: in evaluation mode, and afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from flyweight.surgery.modes import evaluated


@contextmanager
def still(model: Any) -> Iterator[None]:
    """Puts ``model`` in evaluation mode, without gradients, and each of its modules back as it was at the end.

    What is no module (a session, a function) is left alone.
    """
    with evaluated(model) if isinstance(model, nn.Module) else nullcontext(), torch.no_grad():
        yield
