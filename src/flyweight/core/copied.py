"""A copy of a model, or why there can be none."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError

_SNAKE = {"WeightNorm": "weight_norm", "SpectralNorm": "spectral_norm"}


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of ``model``.

    Raises :class:`UnsupportedError` where a module holds a tensor that it computed (as the old
    ``torch.nn.utils.weight_norm`` does), which torch does not copy.
    """
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor) and value.requires_grad and not value.is_leaf:
                hooks = [type(hook).__name__ for hook in module._forward_pre_hooks.values()]
                old = [hook for hook in hooks if hook in _SNAKE]
                raise UnsupportedError(
                    f"UnsupportedError: {type(model).__name__} cannot be copied, for {attribute!r} of "
                    f"{f'module {name!r}' if name else 'the model itself'} is a tensor that it computed"
                    + (
                        f" (torch's old {old[0]}). Remove that by torch.nn.utils.remove_{_SNAKE[old[0]]}."
                        if old
                        else ". Compute it in forward, detach it, or keep it as a buffer."
                    )
                )
    return copy.deepcopy(model)
