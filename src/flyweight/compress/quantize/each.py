"""Where tensors are kept as integers in a model that cannot be traced: at each layer, by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from flyweight.surgery.activation import Requantize
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.overheard import overheard
from flyweight.surgery.rounded import Rounded
from flyweight.surgery.walk import replace_


def round_each_(
    model: nn.Module,
    names: Sequence[str],
    example: tuple[Tensor, ...],
    integer: Callable[[str], IntegerLayer],
    new: Callable[[], Requantize],
) -> int:
    """Replaces the layers ``names`` of ``model`` by what ``integer`` makes of them, each rounding its own input.

    A convolution rounds its output too, for the runtime has no integer kernel that gives floats; a linear layer's has.
    Layers that one pass over ``example`` does not call are left as they are, since ``forward`` reads their weights
    another way. ``new`` makes what rounds. Returns how many were replaced.
    """
    called: set[str] = set()
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda module, x, y, name=name: called.add(name))
        for name in names
    ]
    overheard(model, example, hooks)
    for name in names:
        if name in called:
            target = None if isinstance(model.get_submodule(name), nn.Linear) else new()
            replace_(model, name, Rounded(integer(name), new(), target))
    return len(called)
