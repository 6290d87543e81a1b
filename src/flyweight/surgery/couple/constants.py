"""Sizes that a model's own code holds as numbers, such as ``self.heads`` in a view, and that removal changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from flyweight.surgery.couple.collect import classes_of
from flyweight.surgery.couple.follow import Followed
from flyweight.surgery.couple.line import traced_line
from flyweight.surgery.couple.narrow import Dropped
from flyweight.surgery.couple.value import Value, core, first, varying
from flyweight.surgery.coupling import Group

_MOST_TRIES = 64
_SHAPING = (
    *("view", "reshape", "unflatten", "expand", "repeat", "tile", "split", "split_with_sizes", "tensor_split"),
    *("chunk", "group_norm"),
)
"""Operations of a traced graph whose numbers may be sizes."""


@dataclass(frozen=True)
class Constant:
    """A number in an operation of ``modules`` (dotted names, innermost first) that has to become ``new``.

    ``implied``: the operation works it out by itself (a −1), and only an attribute that speaks of heads should follow.
    ``line``: where the first such operation stands, `` at net.py:12 (…)``, or empty.
    """

    operation: str
    modules: tuple[str, ...]
    old: int
    new: int
    implied: bool = False
    line: str = field(default="", compare=False)


@dataclass(frozen=True)
class Setting:
    """An attribute of a module, and what it is to be."""

    module: str
    name: str
    value: int

    @property
    def place(self) -> tuple[str, str]:
        """What it is that is set."""
        return self.module, self.name

    @property
    def kind(self) -> tuple[str, str]:
        """What is the same in all layers of a kind."""
        return self.module.rpartition(".")[2], self.name

    def set_(self, model: nn.Module) -> None:
        """Sets it in ``model``."""
        setattr(model.get_submodule(self.module), self.name, self.value)


@dataclass(frozen=True)
class Written:
    """A number that a traced graph holds in the node of this name, and what it is to be."""

    module: str
    node: str
    old: int
    value: int

    @property
    def place(self) -> tuple[str, str]:
        """What it is that is set."""
        return self.node, str(self.old)

    @property
    def kind(self) -> tuple[str, str]:
        """What is the same in all layers of a kind."""
        return self.node.rstrip("_0123456789"), str(self.old)

    def set_(self, model: nn.Module) -> None:
        """Sets it in ``model``, the graph."""
        graph: Any = model
        node = next(node for node in graph.graph.nodes if node.name == self.node)
        node.args = fx.node.map_aggregate(node.args, lambda a: self.value if _is(a, self.old) else a)
        node.kwargs = fx.node.map_aggregate(node.kwargs, lambda a: self.value if _is(a, self.old) else a)
        graph.recompile()


Choice = tuple[Setting | Written, ...]


def constants(followed: Followed, groups: tuple[Group, ...], dropped: Dropped) -> list[Constant]:
    """The numbers in the traced operations that no longer fit once ``dropped`` is gone."""
    gone = gone_classes(followed, groups, dropped)
    found: dict[Constant, None] = {}
    for node, value in followed.values.items():
        if node.op == "call_function":
            for old, new, implied in _changes(followed, node, value, gone):
                stack = [str(path) for path, _ in node.meta.get("nn_module_stack", {}).values()]
                name = getattr(node.target, "__name__", str(node.target)).partition(".")[0]
                line = traced_line(str(node.meta.get("stack_trace") or ""))
                found.setdefault(Constant(name, tuple(reversed(stack or [""])), old, new, implied, line))
    return list(found)


def gone_classes(followed: Followed, groups: tuple[Group, ...], dropped: Dropped) -> set[int]:
    """The classes that ``dropped`` takes away."""
    return {
        int(root)
        for group in groups
        if group.label in dropped and bool(dropped[group.label].any())
        for root in classes_of(followed, group)[dropped[group.label].cpu()]
    }


def left_shape(followed: Followed, labels: Tensor, gone: set[int]) -> tuple[int, ...]:
    """The shape of a tensor of ``labels`` without the classes ``gone``."""
    roots = followed.trace.classes.of(core(labels))
    shape = list(labels.shape)
    for dim in varying(roots):
        vector = first(roots, [d for d in range(roots.dim()) if d != dim]).reshape(-1).tolist()
        shape[dim] = sum(root not in gone for root in vector)
    return tuple(shape)


def _changes(followed: Followed, node: fx.Node, value: Any, gone: set[int]) -> Iterator[tuple[int, int, bool]]:
    args = [arg for arg in node.args[1:] if not isinstance(arg, fx.Node)]
    numbers = {n for arg in args for n in (arg if isinstance(arg, tuple | list) else [arg]) if type(n) is int}
    if not numbers:
        return
    values = value if isinstance(value, list) else [value]
    for out in values:
        if isinstance(out, Value):
            for old, new in _sizes(followed, out.labels, gone):
                if old != new and (old in numbers or -1 in numbers):
                    yield old, new, old not in numbers
    name = str(node.target)
    source = followed.values.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None
    if "group_norm" in name and isinstance(source, Value):
        groups = node.args[1]
        assert isinstance(groups, int)
        for old, new in _sizes(followed, source.labels, gone):
            if old != new and old == source.shape[1]:
                yield groups, new * groups // old, False


def _sizes(followed: Followed, labels: Tensor, gone: set[int]) -> Iterator[tuple[int, int]]:
    roots = followed.trace.classes.of(core(labels))
    for dim in varying(roots):
        vector = first(roots, [d for d in range(roots.dim()) if d != dim]).reshape(-1).tolist()
        yield len(vector), sum(root not in gone for root in vector)


def settings(model: nn.Module, wanted: list[Constant]) -> Iterator[Choice]:
    """What attributes to try to set, likeliest first: those of the module whose code holds the constant, then all
    those of the modules around it, then any choice of the former, alike in all layers of a kind. Of a traced graph,
    which holds the numbers that attributes had, those."""
    near: dict[Setting | Written, None] = {}
    far: dict[Setting | Written, None] = {}
    held = _written if isinstance(model, fx.GraphModule) else _attributes
    for constant in wanted:
        for depth, path in enumerate(constant.modules):
            mine = held(model, path, constant)
            far.update(dict.fromkeys(mine))
            if depth == 0 or not any(s.module in constant.modules[:depth] for s in near):
                near.update(dict.fromkeys(mine))
    yield from (tuple(_single(choice)) for choice in (near, far))
    kinds: dict[tuple[str, str], list[Setting | Written]] = {}
    for setting in near:
        kinds.setdefault(setting.kind, []).append(setting)
    for number in range(1, min(1 << len(kinds), _MOST_TRIES) - 1):
        yield tuple(_single([s for place, of in enumerate(kinds.values()) if number >> place & 1 for s in of]))


def _attributes(model: nn.Module, path: str, constant: Constant) -> list[Setting]:
    return [
        Setting(path, name, constant.new)
        for name, value in vars(model.get_submodule(path)).items()
        if type(value) is int and value == constant.old and ("head" in name or not constant.implied)
    ]


def _written(model: Any, path: str, constant: Constant) -> list[Written]:
    if constant.implied:  # a −1 works it out here too
        return []
    found = []
    for node in model.graph.nodes:
        shaping = node.op in ("call_method", "call_function") and _name(node) in _SHAPING
        if shaping and next(reversed(node.meta.get("nn_module_stack", {"": None})), "") == path:
            numbers: list[Any] = []
            fx.node.map_aggregate((node.args, node.kwargs), numbers.append)
            if any(_is(number, constant.old) for number in numbers):
                found.append(Written(path, node.name, constant.old, constant.new))
    return found


def _name(node: fx.Node) -> str:
    return str(node.target if isinstance(node.target, str) else getattr(node.target, "__name__", ""))


def _is(thing: Any, number: int) -> bool:
    return type(thing) is int and thing == number


def _single(choice: Any) -> list[Setting | Written]:
    """One value an attribute: the first that was asked for."""
    taken: dict[tuple[str, str], Setting | Written] = {}
    for setting in choice:
        taken.setdefault(setting.place, setting)
    return list(taken.values())
