"""Running a model for evidence and leaving no trace of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from flyweight.learn.randomness import preserved, reseed
from flyweight.surgery.device import device_of
from flyweight.surgery.mask import Mask
from flyweight.surgery.modes import evaluated


@contextlib.contextmanager
def untouched(model: nn.Module, wanted: Iterable[nn.Parameter] = ()) -> Iterator[None]:
    """``model`` in evaluation mode, with gradients for ``wanted``; afterwards modes, buffers, masks' ears and every
    generator are as they were, and so is what requires a gradient."""
    device = device_of(model)
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    asked = [(parameter, parameter.requires_grad) for parameter in wanted]
    hearing = [module for module in model.modules() if isinstance(module, Mask) and module.hears]
    # cuDNN has no backward pass for a recurrent layer in evaluation mode; torch's own has.
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    library, fast = torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled()
    with preserved(device), evaluated(model):
        try:
            reseed(device, "evidence")
            # Attention's fast path does not call the layers inside.
            torch.backends.mha.set_fastpath_enabled(False)
            torch.backends.cudnn.enabled = library and not recurrent
            for mask in hearing:
                mask.hears = False
            for parameter, _ in asked:
                parameter.requires_grad_(True)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            torch.backends.cudnn.enabled = library
            for mask in hearing:
                mask.hears = True
            for parameter, before in asked:
                parameter.requires_grad_(before)
            with torch.no_grad():
                for buffer, before_ in buffers:
                    buffer.copy_(before_)
