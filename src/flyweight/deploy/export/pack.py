"""Packing integer initializers into the narrowest type that the runtime opens."""

from __future__ import annotations

import re
from typing import Any

_CODES = re.compile(r"(?:^|\.)codes([2-8])$")


def pack(proto: Any, widths: dict[int, str]) -> None:
    """Stores each initializer named ``codes<bits>`` in the type that ``widths`` gives for its bits, in place.

    ``{4: "INT4"}`` packs two codes a byte, low half first, and puts a Cast to INT8 before what reads them: the runtime
    folds that when it opens the file, and its integer kernels, which ask for int8, serve narrow weights too.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes = []
    for tensor in proto.graph.initializer:
        match = _CODES.search(tensor.name)
        if match is None or int(match[1]) not in widths:
            continue
        kind = widths[int(match[1])]
        bits = int(kind.removeprefix("INT"))
        values = numpy_helper.to_array(tensor).reshape(-1)
        per_byte = 8 // bits
        padded = values.view("uint8") & (2**bits - 1)
        padded = _padded(padded, per_byte).reshape(-1, per_byte)
        packed = sum(padded[:, i].astype("uint8") << (bits * i) for i in range(per_byte))
        name = tensor.name
        tensor.data_type = getattr(TensorProto, kind)
        tensor.raw_data = packed.astype("uint8").tobytes()
        tensor.name = f"{name}.packed"
        nodes.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.INT8))
    kept = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *kept])


def _padded(values: Any, multiple: int) -> Any:
    import numpy

    return numpy.pad(values, (0, -len(values) % multiple))
