"""A file that computes nothing: what a call of it takes, any call takes."""

from __future__ import annotations

from pathlib import Path

_OPSET, _IR = 18, 8
"""Old enough for every runtime that opens the rest."""


def write_empty(path: Path) -> Path:
    """Writes an ``.onnx`` file whose output is its input, one float, to ``path``."""
    import onnx
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR), path)
    return path
