"""Leaving zeros out of an ONNX file: the values that are none, and a bitmap that tells where they stand."""

from __future__ import annotations

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

    def add(self, other: Left) -> None:
        """Counts what another pass did as well."""
        self.weights += other.weights
        self.blocks |= other.blocks
        self.left += other.left
        self.zeros += other.zeros
        self.elements += other.elements


def bitmap(proto: Any, blocks: Iterable[tuple[int, int]] = (), widths: Mapping[int, str] | None = None) -> Left:
    """Stores each initializer of many zeros, in ``proto``, as the tiles that are not zero and where they stand.

    A weight as a matrix ``(first dimension, rest)`` is cut into tiles, of 1×1 or of one of ``blocks``; the file keeps
    the tiles with a number in them and one bit a tile. Plain operations make the weight of the two; the runtime carries
    them out once, when it opens the file (for which it takes time, and memory for what lies between), and after that
    the weight is a constant like any other. Where most of the bitmap's own bytes are zero, they are stored in the same
    way. What gets no smaller stays: the file never grows. What an operation of ours reads stays too, but for the bits
    that tell which of its tiles are kept: they are a bitmap themselves. ``widths`` are those of
    :func:`~flyweight.deploy.export.pack.pack`, which comes after.
    """
    from onnx import TensorProto, numpy_helper

    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8)
    # The exporter may have stored a weight transposed.
    turned = {(columns, rows): (rows, columns) for rows, columns in blocks}
    sizes = {(1, 1), *turned, *turned.values()}
    told, writer = Left(), _Writer(proto.graph)
    ours = {name for node in proto.graph.node if node.domain for name in node.input}
    for tensor in list(proto.graph.initializer):
        if tensor.name in ours:
            bits = tensor.data_type == TensorProto.UINT8 and all(tensor.dims)
            if bits and writer.line(numpy_helper.to_array(tensor), tensor.name):
                proto.graph.initializer.remove(tensor)
            continue
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
    """Nodes with their tensors and the sizes that only we know; ``bytes`` is what they add to the file.

    ``zeros`` names those among the tensors that hold nothing but zeros, by type and size.
    """

    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    infos: list[Any] = field(default_factory=list)
    zeros: dict[tuple[str, int], str] = field(default_factory=dict)
    less: int = 0

    @property
    def bytes(self) -> int:
        """The bytes of all, where a later pass packs the values into ``less`` bytes fewer."""
        return sum(int(part.ByteSize()) + 2 for part in (*self.nodes, *self.tensors, *self.infos)) - self.less

    def take(self, other: _Piece) -> None:
        """Takes over what ``other`` has."""
        self.nodes += other.nodes
        self.tensors += other.tensors
        self.infos += other.infos
        self.zeros |= other.zeros


class _Writer:
    """Makes the operations that put a weight together, and writes them in front of the graph's own."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        taken = {name for node in graph.node for name in (*node.input, *node.output)}
        taken |= {value.name for value in (*graph.input, *graph.initializer)}
        self._fresh: Iterator[str] = (n for n in (f"z{i}" for i in range(1 << 62)) if n not in taken)
        self._shared, self._all = _Piece(), _Piece()
        self._line = self._constant(self._shared, _integers([-1]))
        self._table = self._places()

    def piece(self, weight: Any, cut: Tiles, name: str, bits: int, suffix: str = "") -> _Piece:
        """What yields ``weight`` under ``name`` from its tiles, each value of which takes ``bits``."""
        from onnx import TensorProto, helper

        made = _Piece()
        made.less = cut.kept.nbytes - -(-cut.kept.size * bits // 8)
        if not self._all.nodes:
            made.less -= self._shared.bytes
        kept = self._constant(made, cut.kept.reshape(1, -1), f".{suffix}" if suffix else "")
        kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
        if kind != TensorProto.INT8:
            value = self._placed(made, cut, kept, weight.dtype)
        else:
            # OpenVINO puts no single bytes in place when it opens a file, but at each call; halves hold them exactly.
            wide = self._node(made, "Cast", [kept], to=TensorProto.FLOAT16)
            value = self._node(made, "Cast", [self._placed(made, cut, wide, "float16")], to=TensorProto.INT8)
        self._reshape(made, value, weight.shape, name)
        return made

    def line(self, bits: Any, name: str) -> bool:
        """Writes what yields ``bits``, a line of bytes most of which are zero, under ``name``, if that is smaller."""
        from onnx import TensorProto

        made = _Piece()
        value = self._sparse_bytes(made, bits)
        if value is None:
            return False
        self._node(made, "Cast", [self._reshape(made, value)], name, to=TensorProto.UINT8)
        if made.bytes + (0 if self._all.nodes else self._shared.bytes) > _WORTH * (bits.nbytes + len(name)):
            return False
        self.write(made)
        return True

    def write(self, made: _Piece) -> None:
        """Takes ``made`` into the file, and before the first one what they share."""
        if not self._all.nodes:
            self._all.take(self._shared)
        self._all.take(made)

    def close(self) -> None:
        """Puts all in front of the graph's own nodes."""
        own = list(self._graph.node)
        del self._graph.node[:]
        self._graph.node.extend([*self._all.nodes, *own])
        self._graph.initializer.extend(self._all.tensors)
        self._graph.value_info.extend(self._all.infos)

    def _placed(self, made: _Piece, cut: Tiles, kept: str, dtype: Any) -> str:
        """The name of ``(1, elements)``: the numbers ``kept`` where they stand, zeros elsewhere."""
        import numpy as np
        from onnx import TensorProto, helper

        count = cut.grid[0] * cut.grid[1]
        bytes_ = self._bytes(made, cut.bits)
        each = self._node(made, "Gather", [self._table, bytes_])
        marks = self._reshape(made, each)
        if count % 8:
            marks = self._slice(made, marks, [count])
        if cut.tile != (1, 1):
            (rows, columns), (down, across) = cut.tile, cut.grid
            marks = self._reshape(made, marks, (down, 1, across, 1))
            size = self._constant(made, _integers((down, rows, across, columns)))
            marks = self._node(made, "Expand", [marks, size])
            if (down * rows, across * columns) != cut.size:
                marks = self._reshape(made, marks, (down * rows, across * columns))
                marks = self._slice(made, marks, cut.size)
            marks = self._reshape(made, marks)
        found = self._node(made, "NonZero", [marks])
        # ONNX Runtime carries nothing out beforehand whose size it cannot tell before.
        made.infos.append(helper.make_tensor_value_info(found, TensorProto.INT64, [1, cut.kept.size]))
        zeros = self._zeros(made, str(np.dtype(dtype)), cut.size[0] * cut.size[1])
        return self._node(made, "ScatterElements", [zeros, found, kept], axis=1)

    def _zeros(self, made: _Piece, dtype: str, count: int) -> str:
        """The name of ``(1, count)`` zeros, one for all weights of a size: they take memory when the file is opened."""
        import numpy as np
        from onnx import numpy_helper

        known = self._all.zeros | made.zeros
        if (dtype, count) not in known:
            size = self._constant(made, _integers((1, count)))
            value = numpy_helper.from_array(np.zeros(1, dtype))
            made.zeros[dtype, count] = self._node(made, "ConstantOfShape", [size], value=value)
        return (known | made.zeros)[dtype, count]

    def _bytes(self, made: _Piece, bits: Any) -> str:
        """The name of the bitmap's bytes as int32, themselves made from a bitmap where that is smaller."""
        from onnx import TensorProto

        value = self._sparse_bytes(made, bits)
        return self._node(made, "Cast", [self._constant(made, bits)], to=TensorProto.INT32) if value is None else value

    def _sparse_bytes(self, made: _Piece, bits: Any) -> str | None:
        """The name of ``(1, bytes)`` int32 made of the bytes that are not zero and a bitmap, if that is smaller."""
        from onnx import TensorProto

        cut = tiles(bits.reshape(1, -1), (1, 1))
        if cut.kept.nbytes + cut.bits.nbytes < bits.nbytes:
            inner = _Piece()
            wide = self._node(inner, "Cast", [self._constant(inner, cut.kept.reshape(1, -1))], to=TensorProto.INT32)
            name = self._placed(inner, cut, wide, "int32")
            if inner.bytes < _WORTH * bits.nbytes:
                made.take(inner)
                return name
        return None

    def _places(self) -> str:
        """The name of ``(256, 8)``: the bits of each byte, the highest first."""
        import numpy as np
        from onnx import TensorProto

        made = self._shared
        ends = [self._constant(made, np.array(n, np.int32)) for n in (0, 256, 1)]
        column = self._reshape(made, self._node(made, "Range", ends), (256, 1))
        values = self._constant(made, 2 ** np.arange(7, -1, -1, dtype=np.int32))
        two = self._constant(made, np.array(2, np.int32))
        each = self._node(made, "Mod", [self._node(made, "Div", [column, values]), two])
        return self._node(made, "Cast", [each], to=TensorProto.UINT8)

    def _slice(self, made: _Piece, value: str, ends: Sequence[int]) -> str:
        bounds = [self._constant(made, _integers(v)) for v in ([0] * len(ends), ends)]
        return self._node(made, "Slice", [value, *bounds])

    def _reshape(self, made: _Piece, value: str, shape: Sequence[int] | None = None, name: str | None = None) -> str:
        """To ``shape``, or to a line."""
        size = self._line if shape is None else self._constant(made, _integers(shape))
        return self._node(made, "Reshape", [value, size], name)

    def _node(self, made: _Piece, op: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = next(self._fresh) if name is None else name
        made.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def _constant(self, made: _Piece, values: Any, suffix: str = "") -> str:
        from onnx import numpy_helper

        name = next(self._fresh) + suffix
        made.tensors.append(numpy_helper.from_array(values, name))
        return name


def _integers(values: Sequence[int]) -> Any:
    import numpy as np

    return np.array(values, dtype=np.int64)
