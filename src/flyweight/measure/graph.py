"""An ONNX file as a graph to count on: its nodes, its constants, and the shape of every tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flyweight.core.errors import ArtifactError
from flyweight.measure.own_ops import with_twins
from flyweight.measure.own_parts import with_parts

_DRAWN = frozenset(
    ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
)
"""Operations that give something else at each call, whatever they read."""


@dataclass(frozen=True, eq=False)
class Graph:
    """``nodes`` in the order of the file (local functions written out), ``constants`` by name (initializers and
    constant nodes), ``shapes`` by tensor where every size is known, ``batch`` the examples that they are for, and
    ``files`` the file with those that hold its weights outside it."""

    nodes: tuple[Any, ...]
    constants: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    batch: int
    files: tuple[Path, ...]

    def elements(self, name: str) -> int:
        """The elements of a constant."""
        return math.prod(self.constants[name].dims)

    @cached_property
    def fixed(self) -> frozenset[str]:
        """The tensors that no input changes: constants, and what nodes make of them. A runtime makes it but once, when
        it opens the file."""
        found = set(self.constants)
        for node in self.nodes:
            if node.op_type not in _DRAWN and not _inner(node) and all(not n or n in found for n in node.input):
                found.update(node.output)
        return frozenset(found)

    @cached_property
    def live(self) -> tuple[Any, ...]:
        """The nodes of each call, in order: those that read an input, and those that turn stored integers into
        weights, which belong to the operation that multiplies by them."""
        return tuple(n for n in self.nodes if n.op_type == "DequantizeLinear" or not self.fixed.issuperset(n.output))

    @cached_property
    def makers(self) -> Mapping[str, Any]:
        """The node that yields each tensor that is not stored."""
        return {name: node for node in self.nodes for name in node.output}


def read_graph(path: Path | str, batch: int = 1) -> Graph:
    """Reads an ``.onnx`` file without its external weights, and infers shapes.

    A free leading dimension of an input is taken as ``batch``. Raises :class:`ArtifactError` for a missing
    or a damaged file.
    """
    import onnx
    import onnx.inliner
    import onnx.shape_inference

    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"ArtifactError: there is no file {path}. Give the path of an .onnx file.")
    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node:
            raise ValueError("it holds no operations")
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        model = with_parts(model)
        files = (path, *_outside(model, path))
        size = _fix_batch(model, batch)
        inferred = onnx.shape_inference.infer_shapes(with_twins(model), data_prop=True)
    except Exception as error:  # protobuf's, onnx's and the system's errors have no common class
        raise ArtifactError(
            f"ArtifactError: {path} ({path.stat().st_size} bytes) is no whole .onnx file: "
            f"{str(error).splitlines()[0][:300] if str(error) else type(error).__name__}. Export it again."
        ) from error
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = attribute(node, "value")
            if value is not None:
                constants[node.output[0]] = value
    shapes = {name: tuple(tensor.dims) for name, tensor in constants.items()}
    for info in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        shape = _shape(info)
        if shape is not None:
            shapes.setdefault(info.name, shape)
    return Graph(tuple(graph.node), constants, shapes, size, files)


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or ``default``."""
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _inner(node: Any) -> bool:
    """Whether it holds a graph of its own, which may read anything."""
    return any(a.HasField("g") or len(a.graphs) > 0 for a in node.attribute)


def _fix_batch(model: Any, batch: int) -> int:
    graph = model.graph
    stored = {t.name for t in graph.initializer}
    sizes = []
    for info in graph.input:
        dims = info.type.tensor_type.shape.dim
        if info.name in stored or not dims:
            continue
        if not dims[0].dim_value:
            dims[0].dim_value = batch
        sizes.append(dims[0].dim_value)
    # What the exporter noted has the free size in it, and inference keeps what it finds.
    del graph.value_info[:]
    for info in graph.output:
        if _shape(info) is None:
            info.type.tensor_type.ClearField("shape")
    return sizes[0] if sizes else 1


def _shape(info: Any) -> tuple[int, ...] | None:
    kind = info.type.tensor_type
    if not kind.HasField("shape"):
        return None
    dims: Sequence[Any] = kind.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _outside(model: Any, path: Path) -> tuple[Path, ...]:
    names = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if tensor.data_location == tensor.EXTERNAL and entry.key == "location"
    }
    missing = sorted(name for name in names if not (path.parent / name).is_file())
    if missing:
        raise ValueError(f"its weights lie in {missing[0]!r} beside it, which is missing")
    return tuple(path.parent / name for name in sorted(names))
