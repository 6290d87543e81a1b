"""Finding what can be taken away from a model, and what has to go with it."""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.surgery.couple.collect import collect
from flyweight.surgery.couple.follow import follow
from flyweight.surgery.couple.trial import tried
from flyweight.surgery.coupling import Coupling


def couple(model: nn.Module, example: tuple[Tensor, ...]) -> Coupling:
    """The channels, neurons and attention heads of ``model`` that can be taken away, each with all that goes with it.

    ``example`` is one batch of inputs. The model, without its chains, is exported by torch.export, and each element of
    each tensor gets a label: the unit without which it would not be there. Where an operation needs several labels
    kept or taken away together they become one, and where it needs all of them they stay. All groups are tried on a
    copy: where the model's own code holds a size that cannot be set, or works one out of another tensor's, the units
    stay too. The reasons are in ``refused``.
    Raises :class:`UnsupportedError` where the model cannot be exported.
    """
    followed = follow(model, example)
    return tried(collect(followed), followed, example)
