"""Units that nothing reads any more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.surgery.coupling import Coupling, Group


def dead_units(model: nn.Module, coupling: Coupling) -> dict[str, Tensor]:
    """Of each group, by label, the units all of whose input columns are zero, bool ``(units,)``.

    What is read is the weight as it is used, at the end of its chain. Without a unit its group would be the same; one
    is spared where all are dead. A group that no layer reads loses nothing.
    """
    return {group.label: _dead(model, group) for group in coupling.groups}


def _dead(model: nn.Module, group: Group) -> Tensor:
    read = [s for s in group.slices if s.role == "input"]
    dead = torch.full((group.units,), bool(read))
    for at in read:
        if not dead.any():
            return dead
        owner, _, name = at.name.rpartition(".")
        with torch.no_grad():
            weight: Tensor = getattr(model.get_submodule(owner), name)
            live = (weight != 0).movedim(at.dim, 0).flatten(1).any(1).cpu()
        dead &= ~live[at.indices].any(1)
    if bool(dead.all()):
        dead[0] = False
    return dead
