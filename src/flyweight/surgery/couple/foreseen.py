"""Whether a smaller model is the one that the labels tell of."""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.couple.constants import gone_classes, left_shape
from flyweight.surgery.couple.follow import Followed
from flyweight.surgery.couple.narrow import Dropped
from flyweight.surgery.couple.program import exported
from flyweight.surgery.couple.value import Value
from flyweight.surgery.coupling import Group


def as_foreseen(
    smaller: nn.Module,
    groups: tuple[Group, ...],
    dropped: Dropped,
    followed: Followed,
    example: tuple[Tensor, ...],
) -> bool:
    """Whether ``smaller`` takes the operations of the model that was ``followed``, each of the size that the labels of
    what is not ``dropped`` tell; True where nothing is divided at places.

    Values alone may agree by chance: where a place is fixed, or where heads of another number are broadcast.
    """
    (graph,) = {node.graph for node in list(followed.values)[:1]}
    before = [node for node in graph.nodes if node.op == "call_function"]
    if not any("slice" in str(node.target) or "split" in str(node.target) for node in before):
        return True
    try:
        after = [node for node in exported(smaller, example).graph.nodes if node.op == "call_function"]
    except UnsupportedError:
        return False
    if [str(node.target) for node in before] != [str(node.target) for node in after]:
        return False
    gone = gone_classes(followed, groups, dropped)
    for old, new in zip(before, after, strict=True):
        value = followed.values[old]
        if isinstance(value, Value) and not _alike(
            value, new.meta["val"].shape, left_shape(followed, value.labels, gone)
        ):
            return False
    return True


def _alike(value: Value, got: tuple[int, ...], told: tuple[int, ...]) -> bool:
    """Whether a tensor has the shape that was told, in all but what was repeated, which takes any size."""
    if len(got) != len(told):
        return False
    free = [size > 1 and not value.genuine(dim) for dim, size in enumerate(value.shape)]
    return all(mine == his or any_ for mine, his, any_ in zip(got, told, free, strict=True))
