"""Running a model as in evaluation, and leaving it as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def evaluated(model: nn.Module) -> Iterator[nn.Module]:
    """``model`` in eval mode; each of its modules is back in its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes.items():
            module.training = mode
