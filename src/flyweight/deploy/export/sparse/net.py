"""An exported graph as the passes read it: who makes and who reads each tensor, its constants, its recorded shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyweight.deploy.export.slim import module_path

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Net:
    """``nodes`` of an ``onnx.ModelProto`` in their order, and how they hang together; it is read and not changed."""

    def __init__(self, proto: Any) -> None:
        graph = proto.graph
        self.nodes: list[Any] = list(graph.node)
        self.places = {id(node): place for place, node in enumerate(self.nodes)}
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.shapes = {v.name: _shape(v) for v in (*graph.value_info, *graph.input, *graph.output)}
        self._readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def readers(self, name: str) -> list[Any]:
        """The nodes that read a tensor, one as often as it does; none where it is an output, read by others too."""
        return [] if name in self.outputs else self._readers.get(name, [])

    def reader(self, name: str) -> Any | None:
        """The one node that reads a tensor, once; None where there are several, or it is an output."""
        found = self.readers(name)
        return found[0] if len(found) == 1 else None

    def constant(self, name: str) -> Array | None:
        """The value of a constant; None of what is none."""
        from onnx import numpy_helper

        tensor = self.tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def scalar(self, name: str) -> float | None:
        """The value of a constant of one element."""
        value = self.constant(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def other(self, node: Any, name: str) -> str:
        """The other of the two inputs of ``node``."""
        first, second = node.input
        return str(second if first == name else first)

    def path(self, node: Any) -> str:
        """The module that ``node`` was traced from, or where that is unknown what it gives."""
        return module_path(node) or node.name or str(node.output[0])


def _shape(value: Any) -> tuple[int | str, ...] | None:
    """Sizes as numbers, and as names where they are free; None where one is not told."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    dims = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim)
    return None if "" in dims else dims
