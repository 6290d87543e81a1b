"""Walking a program from its inputs to its outputs, a label tensor for each value."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from flyweight.surgery.couple.call import Call
from flyweight.surgery.couple.program import exported
from flyweight.surgery.couple.rectangles import settle
from flyweight.surgery.couple.rules import rule_of
from flyweight.surgery.couple.trace import Trace
from flyweight.surgery.couple.twin import float_twin
from flyweight.surgery.couple.value import Value, Weight, constant
from flyweight.surgery.device import on_device


@dataclass(frozen=True, eq=False)
class Followed:
    """A trace that is done, of ``twin``: ``values`` by node, and the ``names`` that each parameter's key has."""

    twin: nn.Module = field(repr=False)
    trace: Trace
    names: Mapping[int, tuple[str, ...]]
    values: Mapping[fx.Node, Any] = field(repr=False)


def follow(model: nn.Module, example: tuple[Tensor, ...]) -> Followed:
    """Traces the float twin of ``model`` from end to end."""
    twin = float_twin(model)
    program = exported(twin, on_device(example, twin))
    return _Walk(twin, program).done()


class _Walk:
    def __init__(self, twin: nn.Module, program: Any) -> None:
        self.twin = twin
        self.trace = Trace()
        self.program = program
        self.values: dict[fx.Node, Any] = {}
        self.known: dict[fx.Node, Tensor | None] = {}
        self.tensors: dict[str, Tensor] = {}
        self.names: dict[int, tuple[str, ...]] = {}
        for named in (twin.named_parameters, twin.named_buffers):
            for name, tensor in named(remove_duplicate=False):
                self.tensors[name] = tensor
                self.names[id(tensor)] = (*self.names.get(id(tensor), ()), name)
        kept = twin.state_dict(keep_vars=True)
        self.lost = {name for name in self.tensors if name not in kept}
        self.targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if spec.target}

    def done(self) -> Followed:
        self._graph(self.program.graph_module, None, "")
        settle(self.trace)
        return Followed(self.twin, self.trace, self.names, self.values)

    def _graph(self, module: fx.GraphModule, given: list[Any] | None, where: str) -> Any:
        inputs = iter(given or ())
        for node in module.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(node) if given is None else next(inputs)
            elif node.op == "get_attr":
                thing = _attribute(module, str(node.target))
                self.values[node] = Value(constant(thing.shape)) if isinstance(thing, Tensor) else thing
                self.known[node] = thing if isinstance(thing, Tensor) else None
            elif node.op == "call_function":
                self.values[node] = self._call(node, where)
            else:
                result = fx.node.map_arg(node.args[0], lambda n: self.values[n])
                if given is not None:
                    return result
                self._end(node, result)
        return None

    def _end(self, node: fx.Node, result: Any) -> None:
        made = [n for n in node.all_input_nodes if isinstance(self.values[n], Value | Weight)]
        for source in made:
            maker = f"{source.name} of layer {_path(source)!r}" if _path(source) else source.name
            self.trace.freeze(self.values[source], f"{maker} makes the model's output")

    def _placeholder(self, node: fx.Node) -> Any:
        target = self.targets.get(node.name)
        tensor = self.tensors.get(target) if target is not None else None
        if tensor is None and target is not None:
            tensor = self.program.constants.get(target)
        told = node.meta["val"]
        if not isinstance(told, Tensor):
            return told
        self.known[node] = None if isinstance(tensor, nn.Parameter) else tensor
        if tensor is None or target in self.lost or target not in self.tensors or not tensor.is_floating_point():
            return Value(constant(told.shape))
        if target in self.tensors and all(name in self.lost for name in self.names[id(tensor)]):
            return Value(constant(told.shape))
        self.trace.shapes[id(tensor)] = tensor.shape
        return Weight(id(tensor), tuple((dim, torch.arange(size)) for dim, size in enumerate(tensor.shape)))

    def _call(self, node: fx.Node, where: str) -> Any:
        arguments: Any = fx.node.map_arg((node.args, node.kwargs), lambda n: self.values[n])
        args: Any = arguments[0]
        kwargs: Any = arguments[1]
        if node.target is operator.getitem:
            return args[0][args[1]]
        if not isinstance(node.target, torch._ops.OpOverload):
            return self._inner(node, args)
        schema = node.target._schema
        bound = {a.name: a.default_value for a in schema.arguments}
        bound.update(zip((a.name for a in schema.arguments), args, strict=False))
        bound.update(kwargs)
        told = node.meta.get("val")
        if not isinstance(told, Tensor | tuple | list):
            return None
        name = schema.name.removeprefix("aten::").rstrip("_")
        path = _path(node) or where
        call = Call(self.trace, node, name, path, bound, self._concrete)
        return rule_of(node.target)(call)

    def _inner(self, node: fx.Node, args: Any) -> Any:
        """A block under no_grad or autocast is a graph of its own."""
        for place, argument in enumerate(args):
            if isinstance(argument, fx.GraphModule):
                return self._graph(argument, list(args[place + 1 :]), _path(node))
        self.trace.freeze(args, f"{node.target} of {_path(node)!r} is not known to the trace")
        told = node.meta.get("val")
        parts = told if isinstance(told, tuple | list) else [told]
        out = [Value(constant(part.shape)) if isinstance(part, Tensor) else part for part in parts]
        return out if isinstance(told, tuple | list) else out[0]

    def _concrete(self, node: fx.Node) -> Tensor | None:
        """The tensor that ``node`` is whatever the inputs are, or None."""
        if node not in self.known:
            self.known[node] = None
            sources = node.all_input_nodes
            found = {source: self._concrete(source) for source in sources}
            if node.op == "call_function" and all(tensor is not None for tensor in found.values()):
                args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: found[n])
                made = node.target(*args, **kwargs)  # type: ignore[operator]
                self.known[node] = made if isinstance(made, Tensor) else None
        return self.known[node]


def _path(node: fx.Node) -> str:
    """The dotted name of the module whose forward makes ``node``."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def _attribute(module: nn.Module, name: str) -> Any:
    thing: Any = module
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing
