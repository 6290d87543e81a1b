"""Where tensors are kept as integers: the rule that the runtime's integer kernels ask for, on a traced graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from flyweight.core.task import Task
from flyweight.surgery.activation import Requantize
from flyweight.surgery.device import on_device
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.modes import evaluated

_RELUS = (nn.ReLU, nn.ReLU6)
_RELU_FUNCTIONS = {F.relu, F.relu_, F.relu6, torch.relu, torch.relu_}
_RELU_METHODS = {"relu", "relu_"}
_JOINS = {torch.add, operator.add, operator.iadd, torch.mul, operator.mul, operator.imul, torch.cat, torch.concat}
_JOIN_METHODS = {"add", "add_", "mul", "mul_"}
_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
_POOL_FUNCTIONS = {F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, torch.mean}
_POOL_METHODS = {"mean"}
_MOVES = (nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Unflatten, *_RELUS)
_MOVE_FUNCTIONS = {F.max_pool1d, F.max_pool2d, torch.flatten, torch.reshape, torch.permute, torch.transpose}
_MOVE_METHODS = {"flatten", "reshape", "view", "permute", "transpose"}
_STILL = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_STILL_METHODS = {"contiguous"}


def place_(
    graph: fx.GraphModule, task: Task, new: Callable[[], Requantize]
) -> dict[str, tuple[Requantize, Requantize | None]]:
    """Puts :class:`Requantize` modules, made by ``new``, on the edges of ``graph`` that are integers in the runtime.

    Those are: each input of a convolution or linear layer that is an :class:`IntegerLayer`; what it gives, after its
    ReLU; both operands and the result (after its ReLU) of an addition, product or concatenation that meets such a
    tensor, and the result of an average over one. Max-pooling, ReLU and reshapes keep the grid of their input. Every
    other operation stays float. Returns for the name of each integer layer what its input goes through, and its output,
    where every call of it is followed by the same.
    """
    return _Placement(graph, task, new).run()


class _Placement:
    def __init__(self, graph: fx.GraphModule, task: Task, new: Callable[[], Requantize]) -> None:
        self.module, self.graph, self.new = graph, graph.graph, new
        self.kinds = dict(graph.named_modules())
        self.floats = _floats(graph, task)
        self.grids: dict[fx.Node, str] = {}
        self.rounded: dict[fx.Node, fx.Node] = {}
        self.shared: dict[str, str] = {}
        self.sources: dict[str, tuple[Requantize, Requantize | None]] = {}

    def run(self) -> dict[str, tuple[Requantize, Requantize | None]]:
        calls: dict[Any, int] = {}
        for node in self.graph.nodes:
            self._place_keywords(node)
            if node.op == "call_module":
                calls[node.target] = calls.get(node.target, 0) + 1
        for node in list(self.graph.nodes):
            if self._is(node, (IntegerLayer,)):
                self._layer(node, several=calls[node.target] > 1)
            elif self._joins(node) or self._pools(node):
                for operand in self._operands(node):
                    self._on_grid(operand, node)
                self._emit(node)
            elif self._moves(node) and node not in self.grids:
                self._after(node, self.grids[node.args[0]], again=True)
            elif self._stays(node):
                self.grids[node] = self.grids[node.args[0]]
        self.graph.lint()
        self.module.recompile()
        return self.sources

    def _place_keywords(self, node: fx.Node) -> None:
        """Writes ``torch.add(input=x, other=y)`` as ``torch.add(x, y)``: built-in functions tell no signature."""
        if not self._calls(node, _JOINS | _POOL_FUNCTIONS | _MOVE_FUNCTIONS | _RELU_FUNCTIONS, _JOIN_METHODS):
            return
        named = dict(node.kwargs)
        first = [named.pop(key) for key in ("input", "tensors") if key in named] if not node.args else []
        args = (*node.args, *first)
        if len(args) == 1 and "other" in named:
            args = (*args, named.pop("other"))
        node.args, node.kwargs = args, named

    def _layer(self, node: fx.Node, several: bool) -> None:
        if several:
            # A layer that is used more than once has one int32 bias, so its inputs share one scale.
            if node.target not in self.shared:
                self.shared[str(node.target)] = self._add(f"{node.target}_input")
            with self.graph.inserting_before(node):
                node.args = (self.graph.call_module(self.shared[str(node.target)], (node.args[0],)), *node.args[1:])
            name = self.shared[str(node.target)]
        else:
            name = self._on_grid(node.args[0], node)
        source: Any = self.module.get_submodule(name)
        target: Any = self.module.get_submodule(self._emit(node))
        self.sources[str(node.target)] = (source, None if several else target)

    def _emit(self, node: fx.Node) -> str:
        """Rounds what ``node`` gives, after the ReLU that alone reads it, and returns the name of what does."""
        tail = node
        if len(node.users) == 1:
            (user,) = node.users
            if self._is_relu(user):
                tail = user
        name = self._add(_label(node))
        self._after(tail, name)
        return name

    def _on_grid(self, source: Any, user: fx.Node) -> str:
        """Sees to it that ``user`` reads ``source`` rounded, and returns the name of what rounds it."""
        if source in self.grids:
            return self.grids[source]
        if source not in self.rounded:
            name = self._add(_label(source))
            with self.graph.inserting_after(source):
                self.rounded[source] = self.graph.call_module(name, (source,))
            self.grids[self.rounded[source]] = name
            self.floats.add(self.rounded[source])
        user.replace_input_with(source, self.rounded[source])
        return self.grids[self.rounded[source]]

    def _after(self, node: fx.Node, name: str, again: bool = False) -> None:
        """Puts the module ``name`` after ``node``, for all that read it."""
        with self.graph.inserting_after(node):
            rounded = self.graph.call_module(name, (node,), {"again": True} if again else {})
        node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)
        self.grids[rounded] = self.grids[node] = name
        self.floats.add(rounded)

    def _add(self, label: str) -> str:
        name = label.replace(".", "_") + "_grid"
        while hasattr(self.module, name):
            name += "_"
        self.module.add_submodule(name, self.new())
        return name

    def _operands(self, node: fx.Node) -> list[fx.Node]:
        first = node.args[0]
        listed = list(first) if isinstance(first, list | tuple) else [first, *node.args[1:2]]
        return [a for a in listed if isinstance(a, fx.Node)] if not self._pools(node) else [first]  # type: ignore[list-item]

    def _joins(self, node: fx.Node) -> bool:
        if not self._calls(node, _JOINS, _JOIN_METHODS) or node not in self.floats or not node.args:
            return False
        operands = self._operands(node)
        wanted = len(node.args[0]) if isinstance(node.args[0], list | tuple) else 2
        plain = len(operands) == wanted and all(a in self.floats and a.op != "get_attr" for a in operands)
        return plain and "alpha" not in node.kwargs and any(a in self.grids for a in operands)

    def _pools(self, node: fx.Node) -> bool:
        known = self._is(node, _POOLS) or self._calls(node, _POOL_FUNCTIONS, _POOL_METHODS)
        return known and node.args[:1] != () and node.args[0] in self.grids

    def _moves(self, node: fx.Node) -> bool:
        known = self._is(node, _MOVES) or self._calls(node, _MOVE_FUNCTIONS, _MOVE_METHODS) or self._is_relu(node)
        return known and node.args[:1] != () and node.args[0] in self.grids

    def _stays(self, node: fx.Node) -> bool:
        known = self._is(node, _STILL) or self._calls(node, set(), _STILL_METHODS)
        return known and node.args[:1] != () and node.args[0] in self.grids

    def _is_relu(self, node: fx.Node) -> bool:
        return self._is(node, _RELUS) or self._calls(node, _RELU_FUNCTIONS, _RELU_METHODS)

    def _is(self, node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> bool:
        return node.op == "call_module" and isinstance(self.kinds.get(str(node.target)), kinds)

    def _calls(self, node: fx.Node, functions: set[Any], methods: set[str]) -> bool:
        return (node.op == "call_function" and node.target in functions) or (
            node.op == "call_method" and node.target in methods
        )


def _label(node: fx.Node) -> str:
    return str(node.target) if node.op in ("call_module", "placeholder") else node.name


def _floats(graph: fx.GraphModule, task: Task) -> set[fx.Node]:
    """The nodes whose values are floating tensors, as one pass over the example tells."""
    found: set[fx.Node] = set()

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor) and value.is_floating_point():
                found.add(n)
            return value

    with evaluated(graph), torch.no_grad():
        Recorder(graph).run(*on_device(task.example, graph))
    return found
