"""Leaving zeros out of an ONNX file: the values that are none, and a bitmap that tells where they stand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyweight.deploy.export.tiles import Tiles, tiles

_CODES = re.compile(r"(?:^|\.)(codes[2-8])$")
_WORTH = 0.95
"""Of the dense bytes: what gets no smaller than this stays as it is, for it takes time to read a bitmap."""

_FRAME = 8
"""Bytes that a tensor takes beside its values, its sizes and its name, at least."""


@dataclass
class Left:
    """What :func:`bitmap` did: of ``elements`` numbers it found ``zeros`` zero, and it left ``left`` of those out, in
    ``weights`` tensors, which it stored as tiles of the sizes ``blocks``."""

    weights: int = 0
    blocks: set[tuple[int, int]] = field(default_factory=set)
    left: int = 0
    zeros: int = 0
    elements: int = 0


def bitmap(proto: Any, blocks: Iterable[tuple[int, int]] = (), widths: Mapping[int, str] | None = None) -> Left:
    """Stores each initializer of many zeros, in ``proto``, as the tiles that are not zero and where they stand.

    A weight as a matrix ``(first dimension, rest)`` is cut into tiles, of 1×1 or of one of ``blocks``; the file keeps
    the tiles with a number in them and one bit a tile. Plain operations make the weight of the two; the runtime carries
    them out once, when it opens the file, and after that the weight is a constant like any other. Where most of the
    bitmap's own bytes are zero, they are stored in the same way. What gets no smaller stays: the file never grows.
    ``widths`` are those of :func:`~flyweight.deploy.export.pack.pack`, which comes after.
    """
    from onnx import TensorProto, numpy_helper

    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8)
    # The exporter may have stored a weight transposed.
    turned = {(columns, rows): (rows, columns) for rows, columns in blocks}
    sizes = {(1, 1), *turned, *turned.values()}
    told, writer = Left(), _Writer(proto.graph)
    for tensor in list(proto.graph.initializer):
        if tensor.data_type not in kinds or len(tensor.dims) < 2 or not all(tensor.dims):
            continue
        weight = numpy_helper.to_array(tensor)
        codes = _CODES.search(tensor.name)
        bits = int((widths or {}).get(int(codes[1][-1]), "INT8")[3:]) if codes else 8 * weight.itemsize
        zeros = int((weight == 0).sum())
        told.zeros += zeros
        told.elements += weight.size
        dense = weight.size * bits // 8 + _FRAME + 2 * len(tensor.dims)
        if (weight.size - zeros) * bits / 8 > _WORTH * dense:
            continue
        cut = {size: tiles(weight, size) for size in sorted(sizes)}
        best = min(cut, key=lambda size: cut[size].kept.size * bits / 8 + cut[size].bits.size)
        made = writer.piece(weight, cut[best], tensor.name, bits, codes[1] if codes else "")
        if made.bytes > _WORTH * dense:
            continue
        proto.graph.initializer.remove(tensor)
        writer.write(made)
        told.weights += 1
        told.blocks.add(best if best in turned.values() else turned.get(best, best))
        told.left += zeros
    writer.close()
    return told


@dataclass
class _Piece:
    """Nodes with their tensors and the sizes that only we know; ``bytes`` is what they add to the file."""

    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    infos: list[Any] = field(default_factory=list)
    less: int = 0

    @property
    def bytes(self) -> int:
        """The bytes of all, where a later pass packs the values into ``less`` bytes fewer."""
        return sum(int(part.ByteSize()) + 2 for part in (*self.nodes, *self.tensors, *self.infos)) - self.less


class _Writer:
    """Makes the operations that put a weight together, and writes them in front of the graph's own."""

    def __init__(self, graph: Any) -> None:
        self._graph, self._nodes = graph, list[Any]()
        taken = {name for node in graph.node for name in (*node.input, *node.output)}
        taken |= {value.name for value in (*graph.input, *graph.initializer)}
        self._fresh: Iterator[str] = (n for n in (f"z{i}" for i in range(1 << 62)) if n not in taken)
        self._shared, self._used = _shared(), False

    def piece(self, weight: Any, cut: Tiles, name: str, bits: int, suffix: str = "") -> _Piece:
        """What yields ``weight`` under ``name`` from its tiles, each value of which takes ``bits``."""
        from onnx import TensorProto, helper

        made = _Piece(tensors=[] if self._used else list(self._shared))
        made.less = cut.kept.nbytes - -(-cut.kept.size * bits // 8)
        where = self._positions(made, cut.bits)
        kept = self._constant(made, cut.kept, f".{suffix}" if suffix else "")
        kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
        narrow = kind != TensorProto.FLOAT
        if narrow:
            # OpenVINO puts nothing but 32 bits in place when it opens a file, and would do so at each call.
            kept = self._node(made, "Cast", [kept], to=TensorProto.FLOAT)
        zeros = self._zeros(made, (math.prod(cut.grid), *cut.kept.shape[1:]), "float32")
        rows, columns = cut.kept.shape[1:]
        whole = (cut.grid[0] * rows, cut.grid[1] * columns)
        value = self._node(made, "ScatterND", [zeros, where, kept])
        if rows > 1 and cut.grid[1] > 1:
            value = self._reshape(made, value, (*cut.grid, rows, columns))
            value = self._node(made, "Transpose", [value], perm=[0, 2, 1, 3])
        if whole != cut.size:
            value = self._reshape(made, value, whole)
            bounds = [self._constant(made, _integers(v)) for v in ((0, 0), cut.size)]
            value = self._node(made, "Slice", [value, *bounds])
        value = self._reshape(made, value, weight.shape, None if narrow else name)
        if narrow:
            self._node(made, "Cast", [value], name, to=kind)
        return made

    def write(self, made: _Piece) -> None:
        """Takes ``made`` into the graph."""
        self._used = True
        self._graph.initializer.extend(made.tensors)
        self._graph.value_info.extend(made.infos)
        self._nodes += made.nodes

    def close(self) -> None:
        """Puts all nodes in front of the graph's."""
        own = list(self._graph.node)
        del self._graph.node[:]
        self._graph.node.extend([*self._nodes, *own])

    def _positions(self, made: _Piece, bits: Any) -> str:
        """The name of the indices ``(set bits, 1)`` of what is set in ``bits``."""
        import numpy as np
        from onnx import TensorProto, helper

        places, two, flat = (tensor.name for tensor in self._shared)
        wide = self._bytes(made, bits)
        shifted = self._node(made, "Div", [wide, places])
        each = self._node(made, "Mod", [shifted, two])
        line = self._node(made, "Reshape", [each, flat])
        found = self._node(made, "NonZero", [line])
        # ONNX Runtime carries nothing out beforehand whose size it cannot tell before.
        count = int(np.unpackbits(bits).sum())
        made.infos.append(helper.make_tensor_value_info(found, TensorProto.INT64, [1, count]))
        return self._node(made, "Transpose", [found])

    def _bytes(self, made: _Piece, bits: Any) -> str:
        """The name of the bitmap's bytes as int32, themselves made from a bitmap where that is smaller."""
        from onnx import TensorProto

        def wide(piece: _Piece, values: Any) -> str:
            # 32 bits, as for the weight itself.
            return self._node(piece, "Cast", [self._constant(piece, values)], to=TensorProto.INT32)

        cut = tiles(bits, (1, 1))
        if cut.kept.nbytes + cut.bits.nbytes < bits.nbytes:
            inner = _Piece()
            where = self._positions(inner, cut.bits)
            kept = wide(inner, cut.kept.reshape(-1, 1))
            zeros = self._zeros(inner, bits.shape, "int32")
            name = self._node(inner, "ScatterND", [zeros, where, kept])
            if inner.bytes < _WORTH * bits.nbytes:
                made.nodes += inner.nodes
                made.tensors += inner.tensors
                made.infos += inner.infos
                return name
        return wide(made, bits)

    def _zeros(self, made: _Piece, shape: Sequence[int], dtype: Any) -> str:
        import numpy as np
        from onnx import numpy_helper

        size = self._constant(made, _integers(shape))
        return self._node(made, "ConstantOfShape", [size], value=numpy_helper.from_array(np.zeros(1, dtype)))

    def _reshape(self, made: _Piece, value: str, shape: Sequence[int], name: str | None = None) -> str:
        return self._node(made, "Reshape", [value, self._constant(made, _integers(shape))], name)

    def _node(self, made: _Piece, op: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        name = next(self._fresh) if name is None else name
        made.nodes.append(_make(op, inputs, name, **attributes))
        return name

    def _constant(self, made: _Piece, values: Any, suffix: str = "") -> str:
        from onnx import numpy_helper

        name = next(self._fresh) + suffix
        made.tensors.append(numpy_helper.from_array(values, name))
        return name


def _shared() -> list[Any]:
    """What every bitmap needs: the place value of each bit in a byte, two, and the shape of a list."""
    import numpy as np
    from onnx import numpy_helper

    values = {"z.places": 2 ** np.arange(7, -1, -1, dtype=np.int32), "z.two": np.array(2, np.int32)}
    return [numpy_helper.from_array(v, name) for name, v in (values | {"z.flat": _integers([-1])}).items()]


def _make(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, list(inputs), [output], **attributes)


def _integers(values: Sequence[int]) -> Any:
    import numpy as np

    return np.array(values, dtype=np.int64)
