"""A model as a torch.fx graph whose nodes are the modules that we know, in both its modes."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.activation import Requantize
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.walk import matching

_DROPOUTS: dict[Any, type[nn.Module]] = {
    F.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout,
    F.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


def trace(model: nn.Module, exclude: Sequence[str] = ()) -> fx.GraphModule:
    """``model`` as a graph of its torch.nn modules, sharing their parameters; it still has two modes.

    Modules that a glob of ``exclude`` matches stay whole, and so do those without parameters that cannot be traced
    or act otherwise in training than in evaluation. ``F.dropout(x, training=self.training)`` becomes a module, and
    keyword arguments become positional where the signature says their place. Raises :class:`UnsupportedError`, naming
    module and line, where the code cannot be traced.
    """
    opaque = matching(model, exclude)
    modes = {module: module.training for module in model.modules()}
    try:
        try:
            evaluated, trained = _both(model, opaque)
        except UnsupportedError:
            bare = _bare(model) - opaque
            if not bare:
                raise
            evaluated, trained = _both(model, opaque | bare)
    finally:
        for module, mode in modes.items():
            module.training = mode
    graph = fx.GraphModule(model, evaluated, type(model).__name__)
    _name_dropouts(graph, trained)
    _place_keywords(graph)
    for module in graph.modules():
        module.training = modes.get(module, model.training)
    graph.recompile()
    return graph


class _Tracer(fx.Tracer):
    def __init__(self, opaque: set[str]) -> None:
        super().__init__()
        self.opaque = opaque
        self.path: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            module_qualified_name in self.opaque
            or isinstance(m, Requantize | IntegerLayer)
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.path.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        self.path.pop()  # not in a finally: after an error the path tells where it happened
        return result


def _both(model: nn.Module, opaque: set[str]) -> tuple[fx.Graph, fx.Graph]:
    evaluated = _traced(model, opaque, train=False)
    trained = _traced(model, opaque, train=True)
    if _form(evaluated) != _form(trained):
        raise UnsupportedError(_two_faced(model, evaluated, trained))
    return evaluated, trained


def _traced(model: nn.Module, opaque: set[str], train: bool) -> fx.Graph:
    model.train(train)
    tracer = _Tracer(opaque)
    try:
        return tracer.trace(model)
    except Exception as error:
        raise UnsupportedError(_explained(model, tracer.path, error)) from error


def _explained(model: nn.Module, path: list[str], error: Exception) -> str:
    name = path[-1] if path else ""
    kind = type(model.get_submodule(name)).__name__
    home = str(Path(fx.__file__).parent.parent)
    own = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(home)]
    own = [f for f in own if Path(f.filename) != Path(__file__)]
    line = f" at {Path(own[-1].filename).name}:{own[-1].lineno} ({own[-1].line})" if own else ""
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    # What the model's own forward does, no glob of exclude can leave out.
    own_way = "move that code into a module and exclude it"
    way = f"exclude=({name!r},) to leave that module in float" if name else own_way
    return (
        f"UnsupportedError: the activations of {kind}{f' {name!r}' if name else ''} cannot be traced{line}: {cause}. "
        f"Use activations=None to quantize weights only, or {way}."
    )


def _form(graph: fx.Graph) -> list[tuple[Any, ...]]:
    """What a graph computes, dropout's mode left out."""
    number = {node: index for index, node in enumerate(graph.nodes)}

    def plain(value: Any) -> str:
        return str(fx.node.map_arg(value, lambda node: f"%{number[node]}"))

    return [
        (n.op, str(n.target), plain(n.args), plain({k: v for k, v in n.kwargs.items() if k != "training"}))
        if n.target in _DROPOUTS
        else (n.op, str(n.target), plain(n.args), plain(dict(n.kwargs)))
        for n in graph.nodes
    ]


def _bare(model: nn.Module) -> set[str]:
    return {
        name
        for name, module in model.named_modules()
        if name
        and not type(module).__module__.startswith("torch.nn")
        and not list(module.children())
        and not list(module.parameters())
    }


def _two_faced(model: nn.Module, evaluated: fx.Graph, trained: fx.Graph) -> str:
    pairs = zip(evaluated.nodes, trained.nodes, _form(evaluated), _form(trained), strict=False)
    first = next((str(a) for a, _, x, y in pairs if x != y), "its end")
    return (
        f"UnsupportedError: {type(model).__name__} computes something else in training than in evaluation, from "
        f"{first} on, in code that reads self.training. Move that code into a module without parameters, use "
        "activations=None to quantize weights only, or exclude the module that does it."
    )


def _name_dropouts(graph: fx.GraphModule, trained: fx.Graph) -> None:
    for node, twin in zip(list(graph.graph.nodes), list(trained.nodes), strict=True):
        if node.op != "call_function" or node.target not in _DROPOUTS:
            continue
        bound = [inspect.signature(node.target).bind(*n.args, **n.kwargs) for n in (node, twin)]
        for arguments in bound:
            arguments.apply_defaults()
        evaluated, training = (arguments.arguments["training"] for arguments in bound)
        if evaluated == training:
            continue
        name = node.name
        while hasattr(graph, name):
            name += "_"
        graph.add_submodule(name, _DROPOUTS[node.target](bound[0].arguments["p"]))
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.call_module(name, (bound[0].arguments["input"],)))
        graph.graph.erase_node(node)


def _place_keywords(graph: fx.GraphModule) -> None:
    """Writes ``self.conv(input=x)`` as ``self.conv(x)``, so that what reads the graph meets one form."""
    for node in graph.graph.nodes:
        if not node.kwargs or node.op not in ("call_module", "call_function"):
            continue
        called = graph.get_submodule(str(node.target)).forward if node.op == "call_module" else node.target
        try:
            bound = inspect.signature(called).bind(*node.args, **node.kwargs)
        except (TypeError, ValueError):  # torch's built-in functions tell no signature
            continue
        node.args, node.kwargs = bound.args, bound.kwargs
